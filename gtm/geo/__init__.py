"""Geo databases and overrides -> the class table that answers look clients up in.

space.build_space or spacefile.load_space, then classify.classify, then tablefile.save_table; workers import
gtm.geo.tablefile only, which needs nothing but the standard library. Called by gtm.config and gtm.app.
"""
