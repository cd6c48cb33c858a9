"""PEARL (arXiv 2408.11850): parallel drafting on one branch, without a confidence cut."""

from engine.policies.parallel import rounds
from engine.policies.protocol import DraftLimits, Session, Steps
from engine.policies.settings import Settings

USES = frozenset({"draft", "draft_length", "draw_drafts", "guesses", "repeats", "second_under"})


def decode(session: Session, settings: Settings) -> Steps:
    limits = DraftLimits(
        settings.draft_length,
        drawn=settings.draw_drafts,
        guesses=settings.guesses,
        second_under=settings.second_under,
    )
    yield from rounds(session, limits, repeats=settings.repeats)


def balanced_length(target_seconds: float, draft_seconds: float) -> int:
    """The draft length at which both models finish a round together, as PEARL sets it: the ratio of their times.

    Seconds of a target forward and of a draft step, as they run at once.
    """
    return max(1, round(target_seconds / draft_seconds))
