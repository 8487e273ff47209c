"""IO out: each publisher renders (pure), compares with what its target has (pure), and applies the difference."""
