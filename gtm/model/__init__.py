"""The vocabulary: frozen values that every other package speaks in. Imports nothing of gtm and does no IO.

One noun a module; import the noun's module (`from gtm.model.pool import Pool`), not this package.
"""
