"""Which instance of a deployment is meant."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gtm.config.deployment import DATAPLANE_FILE, load
from gtm.config.nearby import did_you_mean, listed
from gtm.model.balance import Dataplane, Instance
from gtm.model.deployment import Deployment
from gtm.model.errors import AskedError, GtmError


@dataclass(frozen=True, slots=True, kw_only=True)
class Balancing:
    """A deployment that balances, and one of its instances."""

    deployment: Deployment
    dataplane: Dataplane
    instance: Instance


def find_instance(folder: Path, node: str | None = None) -> Balancing:
    """The instance by node, without one this node's. Raises ConfigErrors, AskedError, GtmError where there is none."""
    deployment = load(folder)
    return instance_of(deployment, folder, node)


def instance_of(deployment: Deployment, folder: Path, node: str | None = None) -> Balancing:
    """As `find_instance`, of a deployment that is at hand."""
    dataplane = deployment.dataplane
    if dataplane is None:
        raise GtmError(f"{folder / DATAPLANE_FILE}: there is no such file, so nothing is balanced")
    instance = dataplane.instances.get(deployment.node.name if node is None else node)
    if instance is not None:
        return Balancing(deployment=deployment, dataplane=dataplane, instance=instance)
    known = listed(dataplane.instances) or "none"
    if node is None:
        name = deployment.node.name
        raise GtmError(
            f"{folder / DATAPLANE_FILE}: {name}, which gtm.yaml says this node is, is no instance "
            f"(instances: {known}); --node NAME means another one"
        )
    hint = did_you_mean(node, dataplane.instances)
    raise AskedError(f"there is no instance {node}{hint} (instances: {known})", argument="--node")
