"""The round that PEARL and SpecBranch share: the draft goes on while the target verifies.

This module defines no `decode`, so it is not a policy by itself.
"""

from engine.policies.words import EMPTY, DraftLimits, Session, Steps, result, settle


def rounds(session: Session, limits: DraftLimits) -> Steps:
    """Verify the pending line and draft beyond it at the same time, until the text ends."""
    pending = EMPTY
    while not session.finished:
        verdict = session.verify(pending)
        draft = session.draft(pending, limits)
        yield verdict, draft
        pending = settle(session, pending, result(verdict), result(draft))
