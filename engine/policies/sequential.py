"""The round that every policy shares in which the draft writes first and the target judges then.

This module defines no `decode`, so it is not a policy by itself.
"""

from collections.abc import Generator

from engine.policies.guesses import Repeats
from engine.policies.protocol import DraftLimits, Session, Waits, commit, result
from engine.policies.tree import EMPTY, TokenTree, Verdict

NONE = Repeats(0)


def draft_then_verify(
    session: Session, limits: DraftLimits, repeats: Repeats = NONE
) -> Generator[Waits, None, tuple[TokenTree, Verdict]]:
    """One such round; returns the tree and what became of it. Where the text repeats itself, nothing is drafted."""
    tree = repeats.lengthen(session, EMPTY)
    if not tree:
        draft = session.draft(EMPTY, limits)
        yield (draft,)
        tree = result(draft).tree
    handle = session.verify(tree)
    yield (handle,)
    verdict = result(handle)
    commit(session, tree, verdict)
    return tree, verdict
