"""Settings that say something of each stretch of a scale: draft lengths by load, and thresholds by depth.

Both are words such as 1-4:4/5-12:2/13-:0 in a file or on a command line. This module defines no `decode`, so it is not
a policy by itself.
"""

import re
from functools import lru_cache

Lengths = tuple[tuple[int, int | None, int], ...]
"""From so many requests to so many (None: as far as it goes), tokens of a draft."""
Gates = tuple[tuple[int, float], ...]
"""Depths, in rising order, and a threshold for each."""

_LENGTH = re.compile(r"(\d+)(-?)(\d*):(\d+)")
_GATE = re.compile(r"(\d+):(\d*\.?\d+)")


def _words(said: str) -> list[str]:
    """Split at slashes, commas or spaces; a space behind a colon is none."""
    return re.sub(r":\s+", ":", said).replace("/", " ").replace(",", " ").split()


@lru_cache
def read_lengths(said: str, longest: int) -> Lengths:
    """Draft lengths by requests that run. ValueError if a number of requests has none, or two, or a length is more than
    `longest`.
    """
    found: list[tuple[int, int | None, int]] = []
    following: int | None = 1
    for word in _words(said):
        match = _LENGTH.fullmatch(word)
        if match is None or following is None:
            break
        first, dash, end, length = match.groups()
        last = int(end) if end else None if dash else int(first)
        if int(first) != following or (last is not None and last < following) or int(length) > longest:
            break
        found.append((following, last, int(length)))
        following = None if last is None else last + 1
    else:
        if found and following is None:
            return tuple(found)
    raise ValueError(
        f"draft lengths, {longest} at most, by how many requests run, from 1 on without a gap and the last without an "
        "end, such as 1-4:4/5-12:2/13-:0"
    )


def write_lengths(lengths: Lengths) -> str:
    """The words for them."""
    return "/".join(
        f"{first}:{length}" if last == first else f"{first}-{'' if last is None else last}:{length}"
        for first, last, length in lengths
    )


@lru_cache
def read_gates(said: str, deepest: int) -> Gates:
    """Thresholds by depth. ValueError if depths do not rise, from 1 to `deepest`, or a threshold is no share."""
    found: list[tuple[int, float]] = []
    for word in _words(said):
        match = _GATE.fullmatch(word)
        depth, threshold = (int(match[1]), float(match[2])) if match else (0, 0.0)
        if not (found[-1][0] if found else 0) < depth <= deepest or not 0.0 <= threshold <= 1.0:
            break
        found.append((depth, threshold))
    else:
        if found:
            return tuple(found)
    raise ValueError(
        f"depths in rising order, 1 to {deepest}, each with the share that a draft has to give its line to go on, such "
        "as 1:0.2/4:0.3"
    )


def write_gates(gates: Gates) -> str:
    """The words for them."""
    return "/".join(f"{depth}:{threshold:g}" for depth, threshold in gates)
