"""IO: an etcd cluster through its JSON gateway, and what gtm keeps there. Needs the extra `http`.

gtm.store.shared and the commands that give orders use it; nothing here decides anything.
"""
