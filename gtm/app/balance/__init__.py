"""`gtm balance`: the manager of an instance's packet path, and what shows it.

`run` composes it: config, checks and orders become a plan, which `reconcile` brings the kernel's tables to.
"""
