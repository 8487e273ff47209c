"""Standard master files -> gtm.model.zone.Zone, through dnspython."""
