"""Where a text repeats itself: what followed when its last tokens occurred before.

This module defines no `decode`, so it is not a policy by itself.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Repetitions:
    """Where sequences of tokens end in one text, of which ever more is noted.

    What is looked up in a beginning of the text does not depend on how far it is noted already, so all who look things
    up in one text share them.
    """

    _ends: dict[tuple[int, ...], list[int]] = field(default_factory=dict)
    _noted: dict[int, int] = field(default_factory=dict)  # by the length of sequences, up to which end

    def look_up(
        self,
        text: Sequence[int],
        last: tuple[int, ...],
        count: int,
        shortest: int = 1,
        *,
        first: bool = False,
    ) -> tuple[int, ...]:
        """Up to `count` tokens of the text that followed an occurrence of `last` before its end, the latest or first.

        `last`: the text's last tokens, or those of what is to be written behind it. All are looked for, then fewer of
        them, down to `shortest`; nothing if even these are new.
        """
        size = len(text)
        for length in range(len(last), shortest - 1, -1):
            if self._noted.get(length, 0) < size - 1:
                self._note(text, length)
            ends = self._ends.get(last[-length:])
            if ends and ends[0] < size:
                end = ends[0] if first else ends[-1] if ends[-1] < size else ends[bisect_left(ends, size) - 1]
                return tuple(text[end : end + count])
        return ()

    def _note(self, text: Sequence[int], length: int) -> None:
        """Where sequences of a length end before the text does."""
        for end in range(max(length, self._noted.get(length, 0) + 1), len(text)):
            self._ends.setdefault(tuple(text[end - length : end]), []).append(end)
        self._noted[length] = len(text) - 1
