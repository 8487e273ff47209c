"""Where round-trip times come from: probes of our own, connections of clients, and files. What is made of them is
gtm.app.rtt's; gtm.app.rtt_sources runs all of it.
"""
