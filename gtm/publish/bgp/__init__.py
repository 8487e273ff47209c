"""What stands beside the announcer: configurations of ExaBGP and of BFD, rendered from bgp/anycast.yaml.

Pure: each takes the anycast part of a deployment and gives a text. For gtm.app.announce and tests.
"""
