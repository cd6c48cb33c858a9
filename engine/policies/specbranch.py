"""SpecBranch (arXiv 2506.01979): parallel branches at the point where the draft stopped being sure.

Ablations: one branch (`branches: 1`), no H-RAD (`hrad: false`, then confidence alone stops the draft), neither
cut (`min_confidence: 0`), a fixed number of branches (`adaptive_branches: false`).
"""

from engine.policies.parallel import rounds
from engine.policies.protocol import DraftLimits, Session, Steps
from engine.policies.settings import Settings
from engine.policies.tree import EMPTY, Prediction, TokenTree

USES = frozenset(
    {
        "draft",
        "draft_length",
        "branches",
        "adaptive_branches",
        "min_confidence",
        "hrad",
        "redraft",
        "draw_drafts",
        "guesses",
        "repeats",
        "second_under",
    }
)


def decode(session: Session, settings: Settings) -> Steps:
    limits = DraftLimits(
        settings.draft_length,
        branches=settings.branches,
        # With H-RAD the draft goes on, since confidence only counts if the verdict turns out ambiguous.
        min_confidence=0.0 if settings.hrad else settings.min_confidence,
        adaptive=settings.adaptive_branches,
        drawn=settings.draw_drafts,
        guesses=settings.guesses,
        second_under=settings.second_under,
    )

    def hybrid_cut(tree: TokenTree, prediction: Prediction | None) -> TokenTree:
        """H-RAD with the implicit cut: nothing, everything, or up to where the draft was unsure."""
        if prediction == 0:
            return EMPTY
        if prediction == 2:
            return tree
        return tree.until(tree.first_unsure(settings.min_confidence))

    cut = hybrid_cut if settings.hrad else None
    yield from rounds(session, limits, cut, redraft=settings.redraft, repeats=settings.repeats)
