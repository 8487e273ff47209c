"""What `gtm geodata update` wants to know of a database before it takes its place."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from gtm.geo.database import About, read_database
from gtm.model.errors import ConfigError

NETWORKS_MIN = 1000
COUNTRIES_MIN = 20
_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseReport:
    """A database that can be used: what is in it, and how old it is (seconds; negative: built in the future)."""

    about: About
    size_bytes: int
    age_s: float

    def lines(self) -> tuple[str, ...]:
        """The report for people."""
        about = self.about
        built = time.strftime("%Y-%m-%d", time.gmtime(about.build_epoch_s))
        return (
            f"{about.file}: {about.database_type}, {about.layout} layout, {self.size_bytes / 1e6:.1f} MB",
            f"built {built}, {self.age_s / _DAY_S:.0f} days old",
            f"{about.networks4:,} IPv4 networks, {about.networks6:,} IPv6 networks",
            f"{about.countries} countries, {about.subdivisions} subdivisions, {about.asns:,} AS numbers",
        )


def check_database(path: Path, *, now_s: float) -> DatabaseReport:
    """What is in a database, read in full. Raises ConfigError where it is damaged, unknown, or hardly a database.

    It has at least 1,000 networks, and 20 countries or 1,000 AS numbers; less is taken for a
    test file or a sample.
    """
    about = read_database(path).about
    networks = about.networks4 + about.networks6
    if networks < NETWORKS_MIN or (about.countries < COUNTRIES_MIN and about.asns < NETWORKS_MIN):
        raise ConfigError(
            f"has only {networks} networks, {about.countries} countries and {about.asns} AS numbers",
            file=str(path),
            allowed=f"at least {NETWORKS_MIN} networks, and {COUNTRIES_MIN} countries or {NETWORKS_MIN} AS numbers",
        )
    return DatabaseReport(about=about, size_bytes=path.stat().st_size, age_s=now_s - about.build_epoch_s)
