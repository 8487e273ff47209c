"""Which instance of a deployment is meant, and the secret that the instances share."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from gtm.config.deployment import DATAPLANE_FILE, load
from gtm.config.nearby import did_you_mean, listed
from gtm.model.balance import Dataplane, Instance, Secret
from gtm.model.deployment import Deployment
from gtm.model.errors import AskedError, GtmError

SECRET_MIN_BYTES, SECRET_MAX_BYTES = 16, 4096


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


def read_secret(secret: Secret) -> bytes:
    """The secret, without white space around it: 16 octets or more. Raises GtmError, which never shows it."""
    if secret.env is not None:
        where, found = f"the variable {secret.env}", os.environb.get(secret.env.encode())
        if found is None:
            raise GtmError(f"{where} is not set; it is to hold the secret of dataplane/services.yaml")
    else:
        where = str(secret.file)
        try:
            with Path(where).open("rb") as file:
                found = file.read(SECRET_MAX_BYTES + 1)
        except OSError as error:
            raise GtmError(f"{where}: {error.strerror}; it is to hold the secret of dataplane/services.yaml") from error
    found = found.strip()
    if not SECRET_MIN_BYTES <= len(found) <= SECRET_MAX_BYTES:
        raise GtmError(f"{where} holds {len(found)} octets; a secret has {SECRET_MIN_BYTES} to {SECRET_MAX_BYTES}")
    return found
