"""Prompt lookup (Saxena 2023): the text's own repetitions are the draft, and no draft model is needed."""

from collections.abc import Sequence

from engine.policies.settings import Settings
from engine.policies.words import Line, Session, Steps, result, settle

USES = frozenset({"draft_length", "longest_match"})


def decode(session: Session, settings: Settings) -> Steps:
    while not session.finished:
        tokens = look_up(session.text, settings.longest_match, settings.draft_length)
        line = Line(tokens, (1.0,) * len(tokens))
        verdict = session.verify(line)
        yield (verdict,)
        settle(session, line, result(verdict), None)


def look_up(text: Sequence[int], longest: int, count: int) -> tuple[int, ...]:
    """Up to `count` tokens that followed the latest earlier occurrence of the text's last tokens.

    The last `longest` tokens are looked for, then fewer, down to one; nothing if even that is new.
    """
    for length in range(min(longest, len(text) - 1), 0, -1):
        ending = text[-length:]
        for end in range(len(text) - 1, length - 1, -1):
            if text[end - 1] == ending[-1] and text[end - length : end] == ending:
                return tuple(text[end : end + count])
    return ()
