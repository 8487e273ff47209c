"""The shape of each deployment file as a pydantic model: keys, types, ranges, defaults. For gtm.config alone.

What a file says about other files, or one key about another, is checked in gtm.config.build.
"""
