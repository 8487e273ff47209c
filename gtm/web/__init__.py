"""The HTTP face: API and metrics, read-only views of Snapshot and Plan."""
