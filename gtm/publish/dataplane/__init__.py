"""The packet path's tables: libbpf through ctypes, the layouts of dataplane/include as numpy dtypes, and the maps.

The balancer's manager in gtm.app is the one caller; nothing here decides.
"""
