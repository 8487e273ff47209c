"""The servers that the benchmark compares: each says how it is configured, started and named."""
