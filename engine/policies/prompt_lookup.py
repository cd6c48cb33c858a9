"""Prompt lookup (Saxena 2023): the text's own repetitions are the draft, and no draft model is needed.

It goes by the last earlier occurrence of the text's last tokens or, with `first_match`, by the first, as vLLM and
transformers do. With `guesses`, what n-grams say follows them or, where there are none, takes their place: up to so
many tokens in all.
"""

from engine.policies.forms import FOUND
from engine.policies.guesses import continued
from engine.policies.protocol import Session, Steps, commit, result
from engine.policies.settings import Settings
from engine.policies.tree import line_of

USES = frozenset({"draft_length", "longest_match", "first_match", "guesses"})


def decode(session: Session, settings: Settings) -> Steps:
    while not session.finished:
        text = session.text
        last = tuple(text[-settings.longest_match :])
        found = session.repetitions.look_up(text, last, settings.draft_length, first=settings.first_match)
        tokens = continued(session.ngrams, text, found, settings.guesses)
        tree = line_of(tokens, (1.0,) * len(tokens), (FOUND,) * len(tokens))
        verdict = session.verify(tree)
        yield (verdict,)
        commit(session, tree, result(verdict))
