"""IO in: probes of targets, scheduled, and folded into judgements by their caller."""
