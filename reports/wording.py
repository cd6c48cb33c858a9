"""How the page writes numbers and names."""

import textwrap
from html import escape
from math import inf, isfinite

from engine.metrics import Estimate

LONG = 200  # characters; holds every configuration in words
MINUS, TIMES = "\u2212", "\u00d7"
ANYWHERE = 30.0  # times a value, from which on an interval's ends say that nothing is known of it
TELLING = 10.0  # a share of an error or an interval above which its size says nothing more


def sentence(note: str) -> str:
    """A note, which begins small and has no end, as a sentence."""
    return f"{note[0].upper()}{note[1:]}."


def plural(count: int, noun: str) -> str:
    """A count with its noun."""
    ending = "" if count == 1 else "es" if noun.endswith(("ch", "sh", "s", "x")) else "s"
    return f"{count:,} {noun}{ending}"


def listing(items: list[str]) -> str:
    """`a, b and c`."""
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]


def number(value: float, digits: int = 1) -> str:
    """A number with a proper minus; a dash where there is none."""
    if not isfinite(value):
        return "\u2014"
    text = f"{value:,.{digits}f}"
    return MINUS + text[1:] if text.startswith("-") else text


def percent(share: float, digits: int = 1) -> str:
    """A share in percent; what is beyond `TELLING` says no more than that."""
    if TELLING < share < inf:
        return f"> {number(100 * TELLING, 0)}%"
    return number(100 * share, digits) + ("%" if isfinite(share) else "")


def signed(share: float, digits: int = 1) -> str:
    """A signed share in percent; what rounds to nothing has no sign."""
    text = percent(share, digits)
    nothing = percent(0.0, digits)
    if text in (nothing, MINUS + nothing):
        return nothing
    return text if text.startswith(MINUS) or not isfinite(share) else "+" + text


def times(value: float) -> str:
    """A factor, such as a speed-up."""
    return number(value, 2) + TIMES


def milliseconds(seconds: float, digits: int = 2) -> str:
    """Seconds as milliseconds."""
    return number(1e3 * seconds, digits) + " ms"


def has_interval(estimate: Estimate) -> bool:
    """Whether there is an interval that tells something: one prompt gives none.

    Two or three that scatter give one to anywhere, on the scale of logarithms of which intervals are made; an axis that
    shows it shows nothing else.
    """
    return isfinite(estimate.low) and isfinite(estimate.high) and not _reaches_anywhere(estimate)


def _reaches_anywhere(estimate: Estimate) -> bool:
    """Over `ANYWHERE` times the value, and under a share of it as small."""
    return estimate.high > ANYWHERE * estimate.value and 0.0 <= ANYWHERE * estimate.low < estimate.value


def interval(estimate: Estimate, digits: int = 1) -> str:
    """`low to high`, or why there is none."""
    if not has_interval(estimate):
        return "no interval: they scatter" if _reaches_anywhere(estimate) else "no interval: one prompt"
    return f"{number(estimate.low, digits)} to {number(estimate.high, digits)}"


def ranged(estimate: Estimate, digits: int = 1, unit: str = "") -> str:
    """A value with its interval in brackets."""
    return f"{number(estimate.value, digits)}{unit} ({interval(estimate, digits)})"


def estimated(estimate: Estimate, digits: int = 1) -> str:
    """A value, with its interval in brackets where it has one."""
    return ranged(estimate, digits) if has_interval(estimate) else number(estimate.value, digits)


def stacked(estimate: Estimate, digits: int = 1) -> str:
    """A value with its interval under it, for a narrow column."""
    return f"{number(estimate.value, digits)}\n{interval(estimate, digits)}"


def plain(text: str, longest: int = 60) -> str:
    """Someone's text inside a chart, whose labels would read markup; a long one is cut."""
    text = " ".join(text.split())
    return escape(text if len(text) <= longest else text[: longest - 1] + "\u2026", quote=False)


def wrapped(text: str, width: int) -> str:
    """Someone's text inside a chart, broken into lines of `width` characters at most; a very long one is cut."""
    # What stands between two commas is kept together, if a line has room for it.
    parts = (p.replace(" ", "\xa0") if len(p) < width else p for p in " ".join(text.split()).split(", "))
    lines = textwrap.wrap(", ".join(parts), width, max_lines=8, placeholder="\u2026")
    return "<br>".join(plain(line, LONG) for line in lines)


def capital(text: str) -> str:
    """With a capital at its beginning."""
    return text[:1].upper() + text[1:]
