"""A laboratory of several nodes in network namespaces that a test makes and removes itself."""
