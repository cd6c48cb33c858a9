"""Autoregressive decoding: one target forward a token."""

from engine.policies.protocol import Session, Steps, commit, result
from engine.policies.settings import Settings
from engine.policies.tree import EMPTY

USES: frozenset[str] = frozenset()


def decode(session: Session, settings: Settings) -> Steps:
    while not session.finished:
        verdict = session.verify(EMPTY)
        yield (verdict,)
        commit(session, EMPTY, result(verdict))
