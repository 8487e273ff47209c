"""Master files -> gtm.model.zone.Zone: reading (master), rdata, sanity rules (sanity), and whole folders (load).

gtm.app calls `gtm.zone.load.load_zones`. Faults are ConfigErrors with file and line; doubts are values, never logs.
"""
