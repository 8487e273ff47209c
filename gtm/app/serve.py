"""`gtm serve`: a controller with its crew of DNS workers and, where the web extra is installed, the API process."""

from __future__ import annotations

import asyncio
import os
import pwd
import signal
import socket
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import structlog

from gtm.app.bundle import build
from gtm.app.controller import Controller
from gtm.app.crew import Crew, Role, hold, left_behind
from gtm.app.folders import store_file
from gtm.app.nameserver.sockets import claim
from gtm.app.within import within
from gtm.config.deployment import load
from gtm.config.watch import watch_signature
from gtm.model.address import Endpoint
from gtm.model.errors import GtmError
from gtm.model.node import Node
from gtm.store.store import Store

log = structlog.get_logger()

TEND_S = 0.5


async def serve(folder: Path, *, listen: Sequence[Endpoint] = (), ready: Callable[[Node], None] | None = None) -> None:
    """Serve a deployment folder until SIGTERM or SIGINT; `listen` overrides its addresses.

    `ready` is called once all workers answer. Raises GtmError where it cannot start; then nothing is left running
    that was not running before.
    """
    deployment = load(folder)
    state = prepare(folder, deployment.node)
    held = hold(state, "controller")
    if not any(name.startswith("dns-") for name in left_behind(state)):
        for endpoint in listen or deployment.node.listen:
            claim(endpoint)
    signature = await asyncio.to_thread(watch_signature, folder)
    bundle = await asyncio.to_thread(build, folder, state / "cache")
    for warning in bundle.warnings:
        log.warning("deployment", warning=warning)
    with Store(store_file(state)) as store:
        controller = Controller(
            folder, state, bundle, store, signature=signature, admit=lambda now, wanted: admit(now, wanted, listen)
        )
        crew = Crew(state)
        found = left_behind(state)
        stopping = _stopping(controller)
        try:
            await controller.settle()
            following = asyncio.create_task(controller.run(), name="controller")
            await asyncio.to_thread(crew.muster, roles(controller.bundle.deployment.node, listen, state, folder))
        except BaseException:
            await asyncio.to_thread(crew.dismiss, keep=found)
            await controller.close()
            raise
        if ready is not None:
            ready(controller.bundle.deployment.node)
        # Should the controller fail from here on, the workers are left to serve: the next controller takes them over.
        await _tend(crew, controller, listen, stopping, following)
        await asyncio.to_thread(crew.dismiss)
        await controller.close()
    del held


async def _tend(
    crew: Crew,
    controller: Controller,
    listen: Sequence[Endpoint],
    stopping: asyncio.Event,
    following: asyncio.Task[None],
) -> None:
    """Keep the crew as the deployment wants it, until told to stop. Raises what the controller raised, if it fails."""
    while not stopping.is_set():
        if await within(stopping, TEND_S):
            break
        if following.done():
            await following
        wanted = roles(controller.bundle.deployment.node, listen, crew.state, controller.folder)
        try:
            if wanted != crew.roles:
                await asyncio.to_thread(crew.muster, wanted)
            else:
                await asyncio.to_thread(crew.tend)
        except GtmError as error:
            log.error("crew", reason=str(error))
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


def _stopping(controller: Controller) -> asyncio.Event:
    """An event that SIGTERM and SIGINT set; SIGHUP reloads."""
    stopping, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    loop.add_signal_handler(signal.SIGHUP, controller.reload)
    return stopping


def roles(node: Node, listen: Sequence[Endpoint], state: Path, folder: Path) -> tuple[Role, ...]:
    """The processes that a node of a deployment folder needs beside its controller."""
    count = node.workers or len(os.sched_getaffinity(0))
    addresses = [word for endpoint in listen or node.listen for word in ("--listen", str(endpoint))]
    user = ["--user", node.user] if node.user is not None else []
    workers = tuple(
        Role(
            name=f"dns-{slot}",
            module="gtm.app.worker",
            arguments=("--state", str(state), "--slot", str(slot), *addresses, *user),
        )
        for slot in range(count)
    )
    if node.api is None:
        return workers
    if find_spec("uvicorn") is None or find_spec("starlette") is None:
        log.warning("api_off", reason="the web extra is not installed: pip install 'gtm[web]'")
        return workers
    push = [] if node.push_token_file is None else ["--push-token", str((folder / node.push_token_file).absolute())]
    return (
        *workers,
        Role(name="api", module="gtm.app.api", arguments=("--state", str(state), "--listen", str(node.api), *push)),
    )


def admit(now: Node, wanted: Node, listen: Sequence[Endpoint]) -> None:
    """Check that a node which differs from the one that is served can be served here; `listen` beats both.

    Raises GtmError: its processes could not be started, and those that serve would have been ended for them.
    """
    names = now.name, wanted.name
    for key, was, new in (
        ("state_folder", now.state, wanted.state),
        ("user", now.user, wanted.user),
        ("etcd", now.cluster, wanted.cluster),
        ("node", *(names if now.cluster is not None else ("", ""))),  # under which others know it
    ):
        if was != new:
            raise GtmError(f"gtm.yaml: {key}: has changed, and that takes a restart")
    ours = () if listen else now.listen
    for endpoint in () if listen else wanted.listen:
        if endpoint not in ours:
            claim(endpoint, shared=any(one.port == endpoint.port for one in ours))
    if wanted.api is not None and wanted.api != now.api:
        claim(wanted.api, kinds=(socket.SOCK_STREAM,))


def prepare(folder: Path, node: Node) -> Path:
    """The state folder, made if need be, and open to the account that workers become. Raises GtmError."""
    state = (folder / node.state).resolve()
    try:
        for part in (state, state / "tables", state / "workers", state / "cache"):
            part.mkdir(mode=0o750, parents=True, exist_ok=True)
            if node.user is not None and os.geteuid() == 0:
                account = pwd.getpwnam(node.user)
                os.chown(part, account.pw_uid, account.pw_gid)
                part.chmod(0o2750)  # files made here later belong to the workers' group, and are readable by it
    except KeyError:
        raise GtmError(f"user {node.user} does not exist") from None
    except OSError as error:
        raise GtmError(f"state folder {state}: {error.strerror}") from error
    return state
