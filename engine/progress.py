"""How whoever waits for long work hears how far it is. Torch-free."""

from collections.abc import Callable

Advance = Callable[[str], None]
"""Hears of each finished step what was done."""

Progress = Callable[[int, int], None]
"""Hears how much is done, and of how much."""

Show = Callable[[str, int, int], None]
"""Hears what is being done, how much of it is done, and of how much; what follows a colon is detail of the former."""
