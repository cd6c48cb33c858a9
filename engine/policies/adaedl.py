"""AdaEDL (arXiv 2410.18351): speculative decoding that stops drafting where the draft's entropy is high."""

from engine.policies.settings import Settings
from engine.policies.words import EMPTY, DraftLimits, Session, Steps, result, settle

USES = frozenset({"draft", "draft_length", "min_bound", "draw_drafts"})

# The threshold follows the acceptance rate: it rises while fewer than WANTED of the drafted tokens are
# accepted, and falls while more are. Smoothing and step as in Draft & Verify (arXiv 2309.08168).
WANTED, STEP, KEEP_RATE, KEEP_THRESHOLD = 0.9, 0.01, 0.5, 0.9


def decode(session: Session, settings: Settings) -> Steps:
    threshold, rate = settings.min_bound, WANTED
    while not session.finished:
        limits = DraftLimits(
            settings.draft_length, min_bound=threshold, drawn_from=0 if settings.draw_drafts else None
        )
        draft = session.draft(EMPTY, limits)
        yield (draft,)
        line = result(draft).branches[0]
        verdict = session.verify(line)
        yield (verdict,)
        settle(session, line, result(verdict), None)
        rate = KEEP_RATE * rate + (1.0 - KEEP_RATE) * result(verdict).accepted / len(line)
        moved = threshold + (STEP if rate < WANTED else -STEP)
        threshold = KEEP_THRESHOLD * threshold + (1.0 - KEEP_THRESHOLD) * moved
