"""SpecBranch (arXiv 2506.01979): parallel branches at the point where the draft stopped being sure."""

from engine.policies.parallel import rounds
from engine.policies.settings import Settings
from engine.policies.words import DraftLimits, Session, Steps


def decode(session: Session, settings: Settings) -> Steps:
    limits = DraftLimits(
        settings.draft_length,
        branches=settings.branches,
        min_confidence=settings.min_confidence,
        adaptive=settings.adaptive_branches,
    )
    yield from rounds(session, limits)
