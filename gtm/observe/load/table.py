"""What is known of load: each measurement folded in, on a clock that never jumps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gtm.decide import load
from gtm.decide.load import Key, Level
from gtm.model.load import LoadSample, LoadValue
from gtm.model.pool import Instance


class LoadTable:
    """The levels of all subjects. Times in it are monotonic; samples' times of day are turned into ages on arrival."""

    def __init__(self, *, half_life_s: float, age_max_s: float) -> None:
        """Nothing is known yet."""
        self.half_life_s = half_life_s
        self.age_max_s = age_max_s
        self._levels: dict[Key, Level] = {}

    def fold(self, samples: Iterable[LoadSample], source: str, *, now_s: float, wall_s: float) -> None:
        """Take in samples; `now_s` is monotonic and `wall_s` the time of day at the same moment."""
        for sample in samples:
            at_s = now_s - max(0.0, wall_s - sample.at_s)
            if now_s - at_s > self.age_max_s:
                continue
            key = (sample.subject, sample.metric)
            measured = Level(value=sample.value, raw=sample.value, at_s=at_s, source=source)
            self._levels[key] = load.fold(
                self._levels.get(key), measured, half_life_s=self.half_life_s, age_max_s=self.age_max_s
            )

    def keep(self, subjects: Iterable[str]) -> None:
        """Forget all other subjects."""
        wanted = frozenset(subjects)
        self._levels = {key: level for key, level in self._levels.items() if key[0] in wanted}

    def values(self, instances: Iterable[Instance], *, now_s: float) -> Mapping[Key, LoadValue]:
        """What is known now; see `gtm.decide.load.table`. What is too old to count is forgotten."""
        self._levels = {key: one for key, one in self._levels.items() if now_s - one.at_s <= self.age_max_s}
        return load.table(self._levels, instances, now_s=now_s, age_max_s=self.age_max_s)
