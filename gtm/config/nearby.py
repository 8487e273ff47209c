"""What a misspelt word was probably meant to be."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

COMPARED_MAX = 500  # comparing takes some 10 us a word, and a file may be wrong in thousands of places


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The words `; did you mean X?` for the known word nearest to `word`, or nothing if none is near."""
    known = tuple(known)
    if len(known) > COMPARED_MAX:
        return ""
    by_fold = {each.casefold().replace("_", "-"): each for each in known}
    near = get_close_matches(word[:80].casefold().replace("_", "-"), by_fold, n=1, cutoff=0.6)
    return f"; did you mean {by_fold[near[0]]}?" if near else ""


def listed(known: Iterable[str], *, limit: int = 12) -> str:
    """The words with commas between them; past `limit` of them, how many more there are."""
    words = [word[:64] for word in known]
    more = f", and {len(words) - limit} more" if len(words) > limit else ""
    return ", ".join(words[:limit]) + more
