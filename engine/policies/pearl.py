"""PEARL (arXiv 2408.11850): parallel drafting on one branch, without a confidence cut."""

from engine.policies.parallel import rounds
from engine.policies.settings import Settings
from engine.policies.words import DraftLimits, Session, Steps


def decode(session: Session, settings: Settings) -> Steps:
    yield from rounds(session, DraftLimits(settings.draft_length))
