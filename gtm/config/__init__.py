"""Deployment files -> Deployment, strictly; the only place that knows the validation library."""
