"""The guard's policy kept to what the files say, lists that others write among them."""

from __future__ import annotations

import os
from pathlib import Path

from gtm.app.balance.keys import Keys
from gtm.config.networks import read_networks
from gtm.decide.guard import Policy
from gtm.decide.guard_policy import Machine, policy
from gtm.model.address import IPNetwork
from gtm.model.balance import Dataplane
from gtm.model.errors import PublishError
from gtm.publish.dataplane.guard import Guard
from gtm.publish.dataplane.jiffies import Jiffies
from gtm.publish.dataplane.servers import Full


class Protector:
    """Keeps one guard; to be called by one thread at a time."""

    def __init__(self, guard: Guard, jiffies: Jiffies, keys: Keys) -> None:
        """Nothing is written before `apply`."""
        self._guard = guard
        self._machine = Machine(jiffies_per_s=jiffies.rate_per_s, cpus=os.cpu_count() or 1)
        self._seed = keys.seed
        self._policy: Policy | None = None
        self._read: dict[str, tuple[tuple[int, int, int], tuple[IPNetwork, ...]]] = {}

    def apply(self, dataplane: Dataplane) -> bool:
        """Whether the policy was another. Raises ConfigErrors for lists that are none, PublishError."""
        protection = dataplane.protection
        wanted = policy(
            protection,
            dataplane.services.values(),
            self._machine,
            seed=self._seed,
            allow=self._networks(protection.allow_files),
            deny=self._networks(protection.deny_files),
        )
        if wanted == self._policy:
            return False
        self._policy = None  # until all of it is written, it is neither the one before nor this
        try:
            self._guard.set_policy(wanted)
        except Full as error:
            raise PublishError("no room for so many addresses", target="guard", change="write") from error
        except OSError as error:
            raise PublishError(str(error), target="guard", change="write") from error
        self._policy = wanted
        return True

    def _networks(self, files: tuple[str, ...]) -> tuple[IPNetwork, ...]:
        """The networks of files; one that has not changed is not read again."""
        found: list[IPNetwork] = []
        for name in files:
            try:
                status = Path(name).stat()
            except OSError:
                self._read.pop(name, None)
                found += read_networks(Path(name))
                continue
            stamp = status.st_mtime_ns, status.st_size, status.st_ino
            known = self._read.get(name)
            if known is None or known[0] != stamp:
                known = self._read[name] = stamp, read_networks(Path(name))
            found += known[1]
        return tuple(found)
