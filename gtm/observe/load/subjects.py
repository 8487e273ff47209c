"""What a label of somebody else's metrics stands for: a region, or an instance by one of its addresses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Self

from gtm.model.deployment import Deployment


@dataclass(frozen=True, slots=True, kw_only=True)
class Subjects:
    """The subjects of a deployment: regions by name, instances by label, and what else a label may say of them.

    `by_label` has region names, host names without their final dot, and addresses in their one form. An address stands
    for an instance that is answered with it, else for the one that is probed there; one that would stand for several
    subjects stands for none.
    """

    known: frozenset[str]
    by_label: Mapping[str, str]

    @classmethod
    def of(cls, deployment: Deployment) -> Self:
        """Those of a deployment."""
        answered: dict[str, set[str]] = {}
        probed: dict[str, set[str]] = {}
        for pool in deployment.pools.values():
            for one in pool.instances:
                subject = f"instance/{one.region}/{one.label}"
                for text in (one.a, one.aaaa, one.cname and one.cname.lower().rstrip(".")):
                    if text is not None:
                        answered.setdefault(str(text), set()).add(subject)
                if one.probe is not None:
                    probed.setdefault(str(one.probe), set()).add(subject)
        labels = {**probed, **answered, **{region: {f"region/{region}"} for region in deployment.regions}}
        instances = {subject for subjects in answered.values() for subject in subjects}
        return cls(
            known=frozenset(instances | {f"region/{region}" for region in deployment.regions}),
            by_label={label: next(iter(subjects)) for label, subjects in labels.items() if len(subjects) == 1},
        )

    def find(self, label: str) -> str | None:
        """The subject that a label such as "us-east", "192.0.2.11:9100" or "[2001:db8::1]:9100" stands for."""
        if label in self.by_label:
            return self.by_label[label]
        return self.by_label.get(_host(label))


def _host(label: str) -> str:
    """A label without its port, as `by_label` has it."""
    for text in (label, label.rpartition(":")[0]):
        bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
        try:
            return str(ip_address(bare))
        except ValueError:
            continue
    host, colon, port = label.rpartition(":")
    return (host if colon and port.isdecimal() else label).lower().rstrip(".")
