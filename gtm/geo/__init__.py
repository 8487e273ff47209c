"""Geo databases and overrides -> the class table that answers look clients up in."""
