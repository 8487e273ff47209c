"""The command line: parse, call one function of gtm.app, print what it returned. No decisions are made here.

`main.main` is the entry point; each other module is one group of commands and imports gtm.app only when one runs.
"""
