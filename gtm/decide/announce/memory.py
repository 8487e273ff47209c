"""What a service's announcement at one speaker remembers from step to step, and over a restart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace

from gtm.model.anycast import Phase

VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The phase, since when and why, and what the next step needs. Moments are of the steady clock of Sight.

    `announcing`: the route stands, dressed by the treatment of `look` (RISING and FALLING wear what was before them).
    `announced`: it did once. `proved`: there was a verdict before, so that `rise` has not to be waited for by us.
    `good`: the last clear verdict was. `rung` is an index of the ladder, -1 before its first; `penalty` is that of
    damping at `penalty_at_s`; `left_s` is when the route was withdrawn last; `leaving` is what the last wish
    said of that.
    """

    phase: Phase = Phase.INIT
    since_s: float = 0.0
    reason: str = "not judged yet"
    announcing: bool = False
    announced: bool = False
    look: Phase = Phase.UP
    proved: bool = False
    good: bool = False
    rung: int = -1
    rung_since_s: float = 0.0
    penalty: float = 0.0
    penalty_at_s: float = 0.0
    suppressed: bool = False
    left_s: float | None = None
    leaving: bool = False

    @classmethod
    def initial(cls, now_s: float = 0.0) -> Memory:
        """The memory of a speaker that has none."""
        return cls(since_s=now_s, rung_since_s=now_s, penalty_at_s=now_s)

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON, with the version of their form."""
        return {"version": VERSION, **asdict(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> Memory:
        """The memory that `to_dict` wrote. Raises ValueError for another version or values that cannot be it."""
        if values.get("version") != VERSION:
            raise ValueError(f"memory of version {values.get('version')!r} (allowed: {VERSION})")
        found: dict[str, object] = {}
        for each in fields(cls):
            if each.name not in values:
                raise ValueError(f"{each.name} is missing")
            found[each.name] = _READERS[str(each.type)](each.name, values[each.name])
        return cls(**found)  # type: ignore[arg-type]  # each was read by its type


def resumed(memory: Memory, *, saved_s: float, now_s: float, age_max_s: float) -> Memory:
    """The memory to go on with at `now_s` after a restart, where `saved_s` is when it was still kept up.

    One younger than `age_max_s` stands, so that what was UP is announced at once. Of an older one, or one from a clock
    that has begun anew (a boot), only that the service was announced once is left, and what damping has against it.
    """
    if saved_s <= now_s <= saved_s + age_max_s:
        return memory
    return replace(
        Memory.initial(now_s),
        announced=memory.announced,
        penalty=memory.penalty,
        suppressed=memory.suppressed,
        left_s=None if memory.left_s is None else now_s,  # on the safe side: it may just have left
    )


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < float("inf"):
        raise ValueError(f"{name}: {value!r} is not a number")
    return float(value)


def _moment(name: str, value: object) -> float | None:
    return None if value is None else _number(name, value)


def _index(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < -1:
        raise ValueError(f"{name}: {value!r} is not an index")
    return value


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{name}: {value!r} is not true or false")  # noqa: TRY004  # it is what a file says
    return value


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name}: {value!r} is not a text")  # noqa: TRY004  # as above
    return value


def _phase(name: str, value: object) -> Phase:
    try:
        return Phase(_text(name, value))
    except ValueError:
        raise ValueError(f"{name}: {value!r} is not a phase (allowed: {', '.join(Phase)})") from None


_READERS = {"float": _number, "float | None": _moment, "int": _index, "bool": _flag, "str": _text, "Phase": _phase}
