"""The round that PEARL and SpecBranch share: the draft goes on while the target verifies.

This module defines no `decode`, so it is not a policy by itself.
"""

from engine.policies.words import EMPTY, Cut, DraftLimits, Session, Steps, result, settle


def rounds(session: Session, limits: DraftLimits, cut: Cut | None = None) -> Steps:
    """Verify the pending line and draft beyond it at the same time, until the text ends.

    With `cut`, each verdict comes with an outlook, and the line to judge next is cut by it.
    """
    pending = EMPTY
    foresee = limits.length - 1 if cut else 0
    while not session.finished:
        verdict = session.verify(pending, foresee)
        draft = session.draft(pending, limits)
        yield verdict, draft
        pending = settle(session, pending, result(verdict), result(draft), cut)
