"""Deployment files -> Deployment, strictly; the only place that knows the validation library.

Enter by `deployment.load(folder)`; `watch.watch_signature` tells when to load again, `starter.init` writes a new
folder, `schema.render_schemas` describes the files to editors. For the composition root, the command line and tests.
"""
