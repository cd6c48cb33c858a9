"""Speculative decoding whose draft length goes by how many requests run, as vLLM's
`num_speculative_tokens_per_batch_size` has it: the more there are, the less a target's forward has to spare."""

from engine.policies.load import LoadQuestion
from engine.policies.protocol import DraftLimits, Session, Steps, commit, result
from engine.policies.sequential import draft_then_verify
from engine.policies.settings import Settings
from engine.policies.tree import EMPTY

USES = frozenset({"draft", "lengths_by_load", "min_confidence", "draw_drafts"})


def decode(session: Session, settings: Settings) -> Steps:
    limits = {
        length: DraftLimits(length, min_confidence=settings.min_confidence, drawn=settings.draw_drafts)
        for *_, length in settings.lengths
    }
    while not session.finished:
        answer = session.load(LoadQuestion())
        yield (answer,)
        length = settings.length_at(result(answer).running)
        if length:
            yield from draft_then_verify(session, limits[length])
        else:
            verdict = session.verify(EMPTY)
            yield (verdict,)
            commit(session, EMPTY, result(verdict))
