"""The DNS server's IO: sockets in, sockets out, one event loop per worker process.

sockets    bound as a nameserver needs them
counters   one shared page per worker, read by status and metrics
answerer   the current table, and the two paths through it
datagrams  UDP
batch      many datagrams in one system call
streams    TCP
loop       what waits for all of them
"""
