"""Autoregressive decoding: one target forward a token."""

from engine.policies.settings import Settings
from engine.policies.words import EMPTY, Session, Steps, result, settle

USES: frozenset[str] = frozenset()


def decode(session: Session, settings: Settings) -> Steps:
    while not session.finished:
        verdict = session.verify(EMPTY)
        yield (verdict,)
        settle(session, EMPTY, result(verdict), None)
