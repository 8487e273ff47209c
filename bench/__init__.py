"""Benchmarks: each runs the real programs, the peers and gtm in turn in one run, and prints ratios (see README.md)."""
