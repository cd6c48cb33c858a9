"""How whoever waits for a measurement hears how far it is."""

from collections.abc import Callable

Show = Callable[[str, int, int], None]
"""Hears what is being done, how much of it is done, and of how much; what follows a colon is detail of the former."""
