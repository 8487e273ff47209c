"""State sync between the balancers of one PoP, as state machines without IO: gtm.app.balance.sync gives them datagrams.

Time and fresh numbers are arguments; what is to be sent is taken from them.
"""
