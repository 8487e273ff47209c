"""`gtm balance run`: programs loaded and attached, rights given up, and the manager's loop."""

from __future__ import annotations

import fcntl
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from gtm.app.announce import report as announcer_report
from gtm.app.balance import capabilities, memory, standing
from gtm.app.balance.drain import Orders
from gtm.app.balance.instance import Balancing, find_instance
from gtm.app.balance.keys import Keys, read_secret
from gtm.app.balance.manager import RESOLVE_S, Loaded, Manager
from gtm.app.balance.plan import Plan, Sight, next_hops, plan
from gtm.app.balance.protect import Protector
from gtm.app.balance.ready import Ready
from gtm.app.balance.reconcile import Reconciler
from gtm.app.balance.through import Ways, attached
from gtm.app.clock import boot_s
from gtm.app.folders import state_folder
from gtm.app.logs import log_to_stderr
from gtm.app.loop import run as run_loop
from gtm.model.balance import Through
from gtm.model.errors import GtmError, PublishError, Refused, StoreError
from gtm.publish.dataplane import guard_layout, layout, link
from gtm.publish.dataplane.checker import OBJECT as CHECK
from gtm.publish.dataplane.checker import Checker
from gtm.publish.dataplane.checker import detach as detach_checks
from gtm.publish.dataplane.guard import OBJECT as GUARD
from gtm.publish.dataplane.guard import Guard
from gtm.publish.dataplane.jiffies import Jiffies, measure
from gtm.publish.dataplane.link import Outcome
from gtm.publish.dataplane.maps import OBJECT, Balancer
from gtm.publish.dataplane.neighbours import Neighbours
from gtm.publish.dataplane.pins import Incompatible, Pins
from gtm.publish.dataplane.shadow import Shadow, Swap
from gtm.web.document import as_object

log = structlog.get_logger()

PINS = Path("/sys/fs/bpf/gtm")
LOCK = "lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """What `run` would change now, as far as that is known without probing: backends that are not judged are up.

    `attached` is what is on the interface: the mode that its program runs in, None where there is none.
    """

    node: str
    interface: str
    attached: str | None
    mode: str
    replaces: tuple[str, ...]
    backends: tuple[str, ...]
    vips: bool
    rings: tuple[ForeseenRing, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeseenRing:
    """A service's table that would be swapped: slots that would lead elsewhere, and be in transition."""

    service: str
    slots: int
    moved: int
    moving: int


def run(
    folder: Path, *, pins: Path = PINS, once: bool = False, replace: bool = False, objects: Path | None = None
) -> None:
    """Balance until SIGTERM or SIGINT; then the kernel goes on alone. Raises GtmError.

    With `once`: until the tables are right. `replace` takes the place of another release whose maps have another
    layout (its flows in transition are lost) and of another mode (packets pass for a moment). `objects` is the folder
    of the programs (default: gtm's own).
    """
    object_file = OBJECT if objects is None else objects / OBJECT.name
    log_to_stderr(in_json=not sys.stderr.isatty())
    found = find_instance(folder)
    state = state_folder(folder)
    keys = Keys.of(read_secret(found.dataplane.secret, folder))
    with _alone(standing.folder(state)):
        _require(object_file)
        pinned = Pins(pins)
        if pinned.others() and not replace:
            raise Incompatible(
                f"has maps of another release ({', '.join(pinned.others())}); --replace takes their place, and the "
                "flows that are in transition are lost",
                target=str(pins),
                change="load",
            )
        with (
            closing(Neighbours(found.instance.interface)) as neighbours,
            _loaded(object_file, pinned) as balancer,
            _guard(balancer, object_file.with_name(GUARD.name), pinned) as guard,
            _checker(found, object_file.with_name(CHECK.name)) as checker,
        ):
            reconciler = _reconciler(balancer, keys, state)
            reconciler.adopt(found.dataplane.services)
            protector = Protector(guard, reconciler.jiffies, keys)
            if pinned.others():  # nothing of theirs is read any more: what is known goes in before packets come
                reconciler.apply(_first_plan(found, state, neighbours), boot_s())
                protector.apply(found.dataplane)
            outcome = _attach(balancer, found, pinned, move=replace)
            gone = pinned.prune()
            log.info("attached", interface=found.instance.interface, mode=str(found.instance.mode), how=str(outcome))
            if gone:
                log.info("replaced", layouts=gone)
            if not once:
                left = capabilities.drop(capabilities.kept(marks=checker is not None))
                log.info("capabilities", kept=sorted(left))
            ready_file = found.instance.ready_file
            ready = Ready(None if ready_file is None else folder / ready_file)
            loaded = Loaded(
                folder=folder,
                state=state,
                balancing=found,
                pins=pinned,
                reconciler=reconciler,
                neighbours=neighbours,
                protector=protector,
                ways=Ways(reconciler.number, checker),
            )
            run_loop(_manage(loaded, ready, once=once))


async def _manage(loaded: Loaded, ready: Ready, *, once: bool) -> None:
    await Manager(loaded, ready).run(once=once)


def foresee(folder: Path, *, pins: Path = PINS) -> Foreseen:
    """What `run` would change now; nothing is loaded, probed or written. Raises GtmError."""
    found = find_instance(folder)
    state = state_folder(folder)
    keys = Keys.of(read_secret(found.dataplane.secret, folder))
    pinned = Pins(pins)
    with closing(Neighbours(found.instance.interface)) as neighbours:
        shadow = Shadow(pinned)
        reconciler = Reconciler(shadow, keys, _jiffies(), state, boot_s() - time.monotonic(), write=False)
        reconciler.adopt(found.dataplane.services)
        planned = _first_plan(found, state, neighbours)
        applied = reconciler.apply(planned, boot_s())
        names = {number: name for name, number in reconciler.ring_numbers(planned).items()}
        return Foreseen(
            node=found.instance.node,
            interface=found.instance.interface,
            attached=link.hook(found.instance.interface).mode,
            mode=str(found.instance.mode),
            replaces=pinned.others(),
            backends=applied.backends,
            vips=applied.vips,
            rings=tuple(_foreseen(each, names) for each in shadow.swaps),
        )


def detach(folder: Path, *, pins: Path = PINS, force: bool = False) -> tuple[str, ...]:
    """Take the program off, and remove all that is pinned; the interfaces it was on. Raises GtmError.

    Refused while this machine announces one of the VIPs, unless `force`. The ready file says so first, as far as the
    deployment can be read: nothing is balanced any more.
    """
    state = state_folder(folder)
    with _alone(standing.folder(state)), _as_publish_error(str(pins), "detach"):
        pinned = Pins(pins)
        try:
            found = find_instance(folder)
        except GtmError as error:
            log.warning("deployment_not_read", reason=str(error))
        else:
            if not force:
                _refuse_announced(found, state)
            ready_file = found.instance.ready_file
            Ready(None if ready_file is None else folder / ready_file).leave("detached")
        gone = tuple(name for name in pinned.links() if link.detach(pinned.link(name)))
        for name in gone:
            detach_checks(name)  # of a manager that was killed
        pinned.remove()
    return gone


def _refuse_announced(found: Balancing, state: Path) -> None:
    """Raise Refused where the announcer beside this says that routers send a VIP's packets here."""
    try:
        told = announcer_report.load(state)
    except StoreError:
        return
    if not told.pid:
        return
    announced = [route.prefix for route in told.routes if route.wished is not None]
    vips = (vip for service in found.dataplane.services.values() for vip in service.vips)
    for vip in vips:
        for prefix in announced:
            if vip.version == prefix.version and vip in prefix:
                reason = f"{prefix} is announced here, and packets for {vip} would go nowhere; first: gtm drain"
                raise Refused(f"{reason} speaker/{told.node}", guard="announced")


def foreseen_document(foreseen: Foreseen) -> dict[str, object]:
    """What would change, as JSON."""
    return as_object(foreseen)


def foreseen_text(foreseen: Foreseen) -> str:
    """What would change, in lines."""
    there = "no program" if foreseen.attached is None else f"a program in {foreseen.attached} mode"
    lines = [f"{foreseen.interface}: has {there}; would have this one, in {foreseen.mode} mode"]
    lines += [f"maps of layout {each} would be replaced" for each in foreseen.replaces]
    lines += [f"backend {name}: would be written" for name in foreseen.backends]
    lines += ["addresses and ports: would be written"] if foreseen.vips else []
    lines += [
        f"table of {each.service}: {each.moved} of {each.slots} slots would lead elsewhere, {each.moving} in transition"
        for each in foreseen.rings
    ]
    if len(lines) == 1:
        lines.append("the tables are as they should be, if every backend is up")
    return "\n".join(lines)


def _foreseen(swap: Swap, names: dict[int, str]) -> ForeseenRing:
    name = names.get(swap.number, f"ring {swap.number}")
    return ForeseenRing(service=name, slots=swap.slots, moved=swap.moved, moving=swap.moving)


def _first_plan(found: Balancing, state: Path, neighbours: Neighbours) -> Plan:
    """A plan before anything was probed."""
    remembered = memory.load(state)
    with closing(Orders(state, found.deployment.node.cluster)) as orders:
        orders.look()
        return plan(
            found.dataplane,
            found.instance,
            Sight(
                now_s=boot_s(),
                judgements={},
                orders=orders.standing,
                macs={**remembered.macs, **neighbours.find_all(next_hops(found.dataplane, found.instance), RESOLVE_S)},
                active=remembered.active,
                left=remembered.left,
            ),
        )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the lock of the manager's folder. Raises GtmError where another process does, or it cannot be opened."""
    path = folder / LOCK
    try:
        opened = path.open("a+")
    except OSError as error:
        raise GtmError(f"{path}: {error.strerror}") from error
    with opened as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise GtmError(f"{folder}: another `gtm balance` is at work there") from error
        yield


@contextmanager
def _loaded(object_file: Path, pinned: Pins) -> Iterator[Balancer]:
    try:
        balancer = Balancer(object_file, pinned.load)
    except OSError as error:
        raise PublishError(_words(error), target=object_file.name, change="load") from error
    with balancer:
        yield balancer


@contextmanager
def _guard(balancer: Balancer, object_file: Path, pinned: Pins) -> Iterator[Guard]:
    """The guard before the balancer, with the policy that it had."""
    version = layout.digest(guard_layout.BY_STRUCT)
    try:
        guard = Guard(
            balancer.object, object_file, lambda path, shared: pinned.load(path, shared=shared, version=version)
        )
        guard.install()
    except OSError as error:
        raise PublishError(_words(error), target=object_file.name, change="load") from error
    with guard:
        yield guard


@contextmanager
def _checker(found: Balancing, object_file: Path) -> Iterator[Checker | None]:
    """The program for checks through VIPs, on the interface while the manager asks; None where nothing is asked so."""
    if all(each.through is Through.DIRECT for each in found.dataplane.services.values()):
        yield None
        return
    with ExitStack() as stack:
        try:
            program = stack.enter_context(attached(object_file, found.instance.interface))
        except OSError as error:
            raise PublishError(_words(error), target=object_file.name, change="load") from error
        yield program


def _attach(balancer: Balancer, found: Balancing, pinned: Pins, *, move: bool) -> Outcome:
    interface = found.instance.interface
    try:
        return link.attach(
            balancer.root, interface=interface, mode=str(found.instance.mode), pin=pinned.link(interface), move=move
        )
    except OSError as error:
        raise PublishError(_words(error), target=interface, change="attach") from error


def _reconciler(balancer: Balancer, keys: Keys, state: Path) -> Reconciler:
    return Reconciler(balancer, keys, _jiffies(), state, boot_s() - time.monotonic())


def _jiffies() -> Jiffies:
    try:
        return measure()
    except OSError as error:
        raise PublishError(_words(error), target="kernel", change="read jiffies") from error


def _require(object_file: Path) -> None:
    if not object_file.exists():
        raise GtmError(f"{object_file}: is not there; `make bpf` builds it where gtm is run from its sources")


@contextmanager
def _as_publish_error(target: str, change: str) -> Iterator[None]:
    """OSErrors inside become PublishErrors in words that help."""
    try:
        yield
    except OSError as error:
        raise PublishError(_words(error), target=target, change=change) from error


def _words(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return (
            "not permitted: loading and attaching needs root, or CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON and CAP_SYS_ADMIN"
        )
    return error.strerror or str(error)
