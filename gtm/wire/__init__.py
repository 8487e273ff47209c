"""Sans-IO codecs: DNS names, messages and EDNS as bytes in, values out, and back. Pure; imports only gtm.model."""
