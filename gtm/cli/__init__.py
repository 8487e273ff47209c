"""Thin commands over gtm.app; argument parsing and printing only."""
