"""ExaBGP's process API without any IO: what gtm writes to its standard output, and what ExaBGP writes to its input.

dialect    the versions of ExaBGP, and where they differ
command    routes to commands, checked by our own rules first
reply      ExaBGP's lines to values; nothing that it may send raises
session    which command is outstanding, which is next, what came of each
"""
