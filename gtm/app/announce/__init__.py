"""`gtm announce`: the announcer beside ExaBGP, what is rendered for it and checked, and what its routes come to.

For the command line. `render`, `check` and `convert` only read and write files; the others run on a speaker.
"""
