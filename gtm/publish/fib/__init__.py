"""Resilient next-hop groups for the multipath routes of a routing daemon: `gtm fib`.

changes    what the kernel lacks, and what of ours it has too much (pure)
kernel     rtnetlink: what is there, what changes there, and changing it
"""
