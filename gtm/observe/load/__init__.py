"""IO: how busy instances and regions are, by Prometheus servers, files, and what is pushed. gtm.app.load calls it."""
