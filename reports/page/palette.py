"""Colours of the page: told apart by colour-blind readers, each with a counterpart for dark screens.

Charts are written in the light colours; the page swaps each for its counterpart in `DARK` on a dark screen.
"""

from collections.abc import Sequence

INK = "#1f2a33"
MUTED = "#5a6772"
GRID = "#dfe2e0"
LINE = "#aab2b8"
SURFACE = "#fefefd"
IDLE = "#e9ebe8"
BLUE = "#0072b2"
VERMILLION = "#c84d00"
GREEN = "#00805e"
PURPLE = "#a04f86"
AMBER = "#956800"
GREY = "#66727d"
CLEAR = "rgba(0,0,0,0)"

# Sequences for heatmaps, on all of which INK can be read: worse than the baseline, even, better; none to much.
WORSE, EVEN, BETTER = "#eba463", "#f5f3ed", "#6caee4"
NONE, SOME, MUCH = "#f4f2ec", "#f3cfae", "#eb9859"

# For maps of who wins by how much: a method's pale and full colour, on both of which INK can be read.
WON = {
    "autoregressive": ("#e9edf0", "#a9b4bd"),
    "prompt-lookup": ("#f5e6f0", "#d394bf"),
    "speculative": ("#ddecf7", "#6caee4"),
    "pearl": ("#d9efe6", "#5dbd9c"),
    "specbranch": ("#fbe4d3", "#eb9859"),
}
_WON_DARK = {
    "autoregressive": ("#2a3138", "#55626d"),
    "prompt-lookup": ("#382a35", "#8c4174"),
    "speculative": ("#1f3242", "#1d6cb0"),
    "pearl": ("#1d352e", "#0e7457"),
    "specbranch": ("#3d2c20", "#a04f0d"),
}

DARK = {
    INK: "#e6eaed",
    MUTED: "#a2aeb8",
    GRID: "#323b43",
    LINE: "#5c6873",
    SURFACE: "#1a2026",
    IDLE: "#2c343b",
    BLUE: "#56b4e9",
    VERMILLION: "#ff8f4d",
    GREEN: "#3fc79d",
    PURPLE: "#dd97c6",
    AMBER: "#e3b341",
    GREY: "#a7b2bc",
    WORSE: "#94520f",
    EVEN: "#272e35",
    BETTER: "#1d6cb0",
    NONE: "#262d34",
    SOME: "#5f3f22",
    MUCH: "#a04f0d",
    **{light: dark for name in WON for light, dark in zip(WON[name], _WON_DARK[name], strict=True)},
}

_KNOWN = {
    "autoregressive": (GREY, "square"),
    "speculative": (BLUE, "diamond"),
    "pearl": (GREEN, "circle"),
    "specbranch": (VERMILLION, "triangle-up"),
}
_OTHERS = ((PURPLE, "star"), (AMBER, "pentagon"), (INK, "hexagram"))


def mark(policy: str, policies: Sequence[str]) -> tuple[str, str]:
    """Colour and symbol of a policy among those on the page; stable for the shipped ones."""
    if policy in _KNOWN:
        return _KNOWN[policy]
    others = sorted({p for p in policies if p not in _KNOWN})
    return _OTHERS[others.index(policy) % len(_OTHERS)]
