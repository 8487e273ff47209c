"""What the controller knows, for those who show it: judgements, overrides, and what went wrong in the last reload.

Written after each revision and every few seconds while probes report, apart from the tables: showing must not slow
serving. A reader works the plan out again from it, by the same pure function.
"""

from __future__ import annotations

import marshal
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from gtm.model.check import Target
from gtm.model.cluster import ClusterState
from gtm.model.errors import StoreError
from gtm.model.health import Judgement
from gtm.model.load import LoadSummary
from gtm.model.override import Override
from gtm.model.plan import PoolPlan
from gtm.model.rtt import RttState
from gtm.publish.dns import judgement_rows, sealed

FILE = "facts"
JUDGEMENTS = "judgements"
_LENGTH = struct.Struct(">Q")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The controller's side of things at `now_s`.

    `last_good` holds the pools that are all down now, as far as their last good regions are known; `problem` is why
    the newest edit of the deployment is not being served, if it is not; `probes` are the prober's counters, `faults`
    why some targets cannot be probed here, through a fault on this side. `cluster` is what is known of other nodes.
    """

    revision: int
    now_s: float
    started_s: float
    folder: str
    judgements: Mapping[Target, Judgement]
    overrides: tuple[Override, ...]
    last_good: Mapping[str, PoolPlan]
    problem: str | None
    probes: Mapping[str, float]
    faults: Mapping[Target, str] = field(default_factory=dict)
    cluster: ClusterState | None = None
    loads: LoadSummary | None = None
    rtt: RttState | None = None

    def save(self, state: Path) -> None:
        """Replace the facts of a state folder. Raises StoreError."""
        payload = {each.name: getattr(self, each.name) for each in fields(self) if each.name != JUDGEMENTS}
        rest, rows = sealed.freeze(payload), marshal.dumps(judgement_rows.dump(self.judgements))
        sealed.write(state / FILE, "facts", _LENGTH.pack(len(rest)) + rest + rows)

    @classmethod
    def load(cls, state: Path) -> Facts:
        """The facts of a state folder. Raises StoreError."""
        path = state / FILE
        data = sealed.read(path, "facts")
        try:
            (length,) = _LENGTH.unpack_from(data)
            rest = data[_LENGTH.size : _LENGTH.size + length]
            payload = sealed.thaw(rest)
            rows = marshal.loads(data[_LENGTH.size + length :])
            return cls(**payload, judgements=judgement_rows.load(rows))
        except (TypeError, ValueError, EOFError, struct.error) as error:
            raise StoreError(f"{path}: written by another version of gtm: {error}") from error
