"""The round that PEARL and SpecBranch share: the draft goes on while the target verifies.

This module defines no `decode`, so it is not a policy by itself.
"""

from dataclasses import replace

from engine.policies.repetitions import Repeats
from engine.policies.words import EMPTY, Cut, DraftLimits, Outlook, Session, Steps, result, settle


def rounds(
    session: Session, limits: DraftLimits, cut: Cut | None = None, *, redraft: bool = False, repeats: int = 0
) -> Steps:
    """Verify the pending line and draft beyond it at the same time, until the text ends.

    With `cut`, each verdict comes with an outlook, and the line to judge next is cut by it. A rejection leaves no line
    to judge: with `redraft` one is written then, alone and as long as one that survives; else the target goes on by
    one token meanwhile. A line that the text's repetitions agree with is lengthened by them, to `repeats` tokens.
    """
    longer = Repeats(repeats)
    pending, begun = EMPTY, False
    outlook: Outlook | None = None
    foresee = limits.length - 1 if cut else 0
    anew = replace(limits, branches=1, adaptive=False, length=max(1, limits.length - 1))
    while not session.finished:
        written, drafted = 0, len(pending)
        pending = longer.lengthen(session, pending)
        added = len(pending) - drafted
        if redraft and begun and not pending and outlook != 0:
            line = session.draft(EMPTY, anew)
            yield (line,)
            (whole,) = result(line).branches
            pending, written = cut(whole, outlook) if cut else whole, len(whole)
        verdict = session.verify(pending, foresee)
        draft = session.draft(pending, limits)
        yield verdict, draft
        outlook, begun = result(verdict).outlook, True
        pending = settle(session, pending, result(verdict), result(draft), cut, written, added)
