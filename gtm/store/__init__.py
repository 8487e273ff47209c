"""IO: what must outlive the process: overrides, audit, judgements, revisions. SQLite is the embedded default."""
