"""Sans-IO codecs of the DNS protocol: names, headers, questions, messages, EDNS and its options. Bytes in, values out.

Anything may call it; it imports only gtm.model. Malformed input raises WireError, which full answers turn into FORMERR.
"""
