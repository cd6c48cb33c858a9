"""Prompt lookup (Saxena 2023): the text's own repetitions are the draft, and no draft model is needed."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from engine.policies.settings import Settings
from engine.policies.words import Line, Session, Steps, result, settle

USES = frozenset({"draft_length", "longest_match"})


def decode(session: Session, settings: Settings) -> Steps:
    repetitions = Repetitions(settings.longest_match)
    while not session.finished:
        tokens = repetitions.look_up(session.text, settings.draft_length)
        line = Line(tokens, (1.0,) * len(tokens))
        verdict = session.verify(line)
        yield (verdict,)
        settle(session, line, result(verdict), None)


@dataclass
class Repetitions:
    """Where each sequence of up to `longest` tokens of one growing text ended last, but for the text's own end."""

    longest: int
    _ends: dict[tuple[int, ...], int] = field(default_factory=dict)
    _noted: int = 0

    def look_up(self, text: Sequence[int], count: int) -> tuple[int, ...]:
        """Up to `count` tokens that followed the latest earlier occurrence of the text's last tokens.

        The last `longest` tokens are looked for, then fewer, down to one; nothing if even that is new.
        """
        for end in range(self._noted + 1, len(text)):
            for length in range(1, min(self.longest, end) + 1):
                self._ends[tuple(text[end - length : end])] = end
            self._noted = end
        for length in range(min(self.longest, len(text) - 1), 0, -1):
            found = self._ends.get(tuple(text[-length:]))
            if found is not None:
                return tuple(text[found : found + count])
        return ()
