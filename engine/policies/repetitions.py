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
    up in one text share them. `_longest` is the length of the longest sequences that are noted.
    """

    _ends: dict[tuple[int, ...], list[int]] = field(default_factory=dict)
    _longest: int = 0
    _noted: int = 0

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
        size, longest = len(text), len(last)
        if self._noted < size - 1 or self._longest < longest:
            self._note(text, longest)
        for skipped in range(longest - shortest + 1):
            ends = self._ends.get(last[skipped:])
            if ends and ends[0] < size:
                end = ends[0] if first else ends[-1] if ends[-1] < size else ends[bisect_left(ends, size) - 1]
                return tuple(text[end : end + count])
        return ()

    def _note(self, text: Sequence[int], longest: int) -> None:
        """Where sequences of up to so many tokens end, up to the last token but one."""
        if longest > self._longest:
            self._ends, self._longest, self._noted = {}, longest, 0
        for end in range(self._noted + 1, len(text)):
            for begin in range(max(0, end - self._longest), end):
                self._ends.setdefault(tuple(text[begin:end]), []).append(end)
            self._noted = end
