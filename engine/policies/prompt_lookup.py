"""Prompt lookup (Saxena 2023): the text's own repetitions are the draft, and no draft model is needed."""

from engine.policies.repetitions import Repetitions
from engine.policies.settings import Settings
from engine.policies.words import Line, Session, Steps, result, settle

USES = frozenset({"draft_length", "longest_match"})


def decode(session: Session, settings: Settings) -> Steps:
    repetitions = Repetitions(settings.longest_match)
    while not session.finished:
        tokens = repetitions.look_up(session.text, settings.draft_length)
        line = Line(tokens, (1.0,) * len(tokens))
        verdict = session.verify(line)
        yield (verdict,)
        settle(session, line, result(verdict), None)
