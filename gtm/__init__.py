"""gtm, a global traffic manager: it decides which region, instance and backend each client reaches, and publishes it.

Start reading at `gtm.model` (the words), then `gtm.decide` (the decision); ARCHITECTURE.md has the picture.
"""

__version__ = "0.1.0"
