"""AdaEDL (arXiv 2410.18351): speculative decoding that stops drafting where the draft's entropy is high."""

from engine.policies.protocol import DraftLimits, Session, Steps
from engine.policies.sequential import draft_then_verify
from engine.policies.settings import Settings

USES = frozenset({"draft", "draft_length", "min_bound", "draw_drafts", "guesses"})

# The threshold follows the acceptance rate: it rises while fewer than WANTED of the drafted tokens are
# accepted, and falls while more are, after the manner of Draft & Verify (arXiv 2309.08168); the constants are ours.
WANTED, STEP, KEEP_RATE, KEEP_THRESHOLD = 0.9, 0.01, 0.5, 0.9


def decode(session: Session, settings: Settings) -> Steps:
    threshold, rate = settings.min_bound, WANTED
    while not session.finished:
        limits = DraftLimits(
            settings.draft_length, min_bound=threshold, drawn=settings.draw_drafts, guesses=settings.guesses
        )
        tree, verdict = yield from draft_then_verify(session, limits)
        rate = KEEP_RATE * rate + (1.0 - KEEP_RATE) * verdict.accepted / len(tree)
        moved = threshold + (STEP if rate < WANTED else -STEP)
        threshold = KEEP_THRESHOLD * threshold + (1.0 - KEEP_THRESHOLD) * moved
