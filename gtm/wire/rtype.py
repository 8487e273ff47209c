"""RR types, meta query types and classes by number (the IANA registry "Domain Name System (DNS) Parameters")."""

from __future__ import annotations

from typing import Final

A: Final = 1
NS: Final = 2
MD: Final = 3
MF: Final = 4
CNAME: Final = 5
SOA: Final = 6
MB: Final = 7
MG: Final = 8
MR: Final = 9
PTR: Final = 12
HINFO: Final = 13
MINFO: Final = 14
MX: Final = 15
TXT: Final = 16
RP: Final = 17
AFSDB: Final = 18
RT: Final = 21
SIG: Final = 24
KEY: Final = 25
AAAA: Final = 28
NXT: Final = 30
SRV: Final = 33
NAPTR: Final = 35
KX: Final = 36
DNAME: Final = 39
OPT: Final = 41
DS: Final = 43
RRSIG: Final = 46
NSEC: Final = 47
DNSKEY: Final = 48
NSEC3: Final = 50
NSEC3PARAM: Final = 51
SVCB: Final = 64
HTTPS: Final = 65
CAA: Final = 257

TKEY: Final = 249
TSIG: Final = 250
IXFR: Final = 251
AXFR: Final = 252
MAILB: Final = 253
MAILA: Final = 254
ANY: Final = 255

CLASS_IN: Final = 1
CLASS_CH: Final = 3
CLASS_NONE: Final = 254
CLASS_ANY: Final = 255
