"""The round that PEARL and SpecBranch share: the draft goes on while the target verifies.

This module defines no `decode`, so it is not a policy by itself.
"""

from dataclasses import replace

from engine.policies.guesses import Repeats
from engine.policies.protocol import Cut, DraftLimits, Session, Steps, commit, result
from engine.policies.tree import EMPTY, Prediction


def rounds(
    session: Session, limits: DraftLimits, cut: Cut | None = None, *, redraft: bool = False, repeats: int = 0
) -> Steps:
    """Verify the pending tree and draft beyond its first line at the same time, until the text ends.

    With `cut`, each verdict comes with a prediction, and the tree to judge next is cut by it. A rejection leaves none
    to judge: with `redraft` one is written then, alone and as long as one that survives; else the target goes on by
    one token meanwhile. A line that the text's repetitions agree with is lengthened by them, to `repeats` tokens.
    """
    longer = Repeats(repeats)
    pending, begun = EMPTY, False
    prediction: Prediction | None = None
    predict = limits.length - 1 if cut else 0
    anew = replace(limits, branches=1, adaptive=False, length=max(1, limits.length - 1))
    while not session.finished:
        redrafted = EMPTY
        if repeats:
            pending = longer.lengthen(session, pending)
        if redraft and begun and not pending and prediction != 0:
            alone = session.draft(EMPTY, anew)
            yield (alone,)
            redrafted = result(alone).tree
            pending = cut(redrafted, prediction) if cut else redrafted
        judged = session.verify(pending, predict)
        draft = session.draft(pending, limits)
        yield judged, draft
        verdict = result(judged)
        prediction, begun = verdict.prediction, True
        pending = commit(session, pending, verdict, result(draft), cut, redrafted)
