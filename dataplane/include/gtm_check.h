/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The contract between gtm's own checks through a VIP and the program that sends them to one backend. */
#ifndef GTM_CHECK_H
#define GTM_CHECK_H

#define GTM_CHECK_MARK 0x67740000u   /* SO_MARK of a check's socket, and the backend's number with it */
#define GTM_CHECK_NUMBER 0xfffu

#endif
