"""Standard speculative decoding (Leviathan et al. 2023): draft, then verify, in turn."""

from engine.policies.guesses import Repeats
from engine.policies.protocol import DraftLimits, Session, Steps
from engine.policies.sequential import draft_then_verify
from engine.policies.settings import Settings

USES = frozenset(
    {"draft", "draft_length", "min_confidence", "draw_drafts", "guesses", "repeats", "second_under"}
)


def decode(session: Session, settings: Settings) -> Steps:
    limits = DraftLimits(
        settings.draft_length,
        min_confidence=settings.min_confidence,
        drawn=settings.draw_drafts,
        guesses=settings.guesses,
        second_under=settings.second_under,
    )
    repeats = Repeats(settings.repeats)
    while not session.finished:
        yield from draft_then_verify(session, limits, repeats)
