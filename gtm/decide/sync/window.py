"""Which datagrams of a session were seen, as IPsec's receivers keep it (RFC 4303, 3.4.3)."""

from __future__ import annotations

SIZE = 1024  # datagrams that may overtake one; far more than are sent before one is acknowledged


class Window:
    """Takes each number once, in any order within SIZE of the largest."""

    def __init__(self) -> None:
        self.newest = 0
        self._seen = 0  # bit i: newest - i was seen

    def accept(self, number: int) -> bool:
        """Whether this number (1 or more) is seen for the first time; one that is too old counts as seen."""
        ahead = number - self.newest
        if ahead > 0:
            self._seen = (self._seen << ahead | 1) & (1 << SIZE) - 1 if ahead < SIZE else 1
            self.newest = number
            return True
        if -ahead >= SIZE or self._seen >> -ahead & 1:
            return False
        self._seen |= 1 << -ahead
        return True
