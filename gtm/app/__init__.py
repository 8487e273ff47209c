"""The composition root: one file per role; the only place that constructs IO objects."""
