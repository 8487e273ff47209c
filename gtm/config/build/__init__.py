"""Shapes -> the model, with every check of one key against another, or of one file against the others.

Each function records faults in its Document and returns what is sound.
"""
