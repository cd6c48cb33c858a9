"""The round that every policy shares in which the draft writes first and the target judges then.

This module defines no `decode`, so it is not a policy by itself.
"""

from collections.abc import Generator

from engine.policies.repetitions import Repeats
from engine.policies.words import EMPTY, DraftLimits, Line, Session, Verdict, Waits, result, settle

NONE = Repeats(0)


def draft_then_verify(
    session: Session, limits: DraftLimits, repeats: Repeats = NONE
) -> Generator[Waits, None, tuple[Line, Verdict]]:
    """One such round; returns the line and what became of it. Where the text repeats itself, nothing is drafted."""
    line = repeats.lengthen(session, EMPTY)
    if not line:
        draft = session.draft(EMPTY, limits)
        yield (draft,)
        line = result(draft).branches[0]
    handle = session.verify(line)
    yield (handle,)
    verdict = result(handle)
    settle(session, line, verdict, None)
    return line, verdict
