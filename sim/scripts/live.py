"""A policy that is run while it is served, since it asks about the load: without a clock, as a script is written."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from engine.policies import load_policy
from engine.policies.load import Answer, Load, LoadQuestion
from engine.policies.ngrams import NONE, NGrams
from engine.policies.protocol import Steps
from engine.policies.settings import Settings
from sim.acceptance.sources import AcceptanceSource
from sim.scripts.script import ScriptSession
from sim.scripts.work import Script, ServedJob


@dataclass(frozen=True)
class Play:
    """What a request is written by: a policy, a path as a draft sees it, and a prompt of one token at least."""

    settings: Settings
    source: AcceptanceSource
    prompt: Sequence[int]
    ngrams: NGrams = NONE


@dataclass(eq=False)
class LivePolicy:
    """A policy on its way along a path: what it has asked for, and the question about the load that it waits with."""

    play: Play
    question: LoadQuestion | None = None
    _answer: Answer = field(default_factory=Answer)
    _session: ScriptSession = field(init=False)
    _steps: Steps = field(init=False)

    def __post_init__(self) -> None:
        """ConfigurationError if there is no such policy."""
        play = self.play
        self._session = ScriptSession(play.source, play.prompt, play.ngrams, ask=self._ask)
        self._steps = load_policy(play.settings.policy)(self._session, play.settings)

    @property
    def rounds(self) -> int:
        """How many rounds have ended."""
        return len(self._session.rounds)

    @property
    def tokens(self) -> int:
        """How many tokens the text has."""
        return len(self.play.source.path)

    def _ask(self, question: LoadQuestion) -> Answer:
        self.question, self._answer = question, Answer()
        return self._answer

    def answer(self, load: Load) -> None:
        """Answer its question."""
        self.question, self._answer.value = None, load

    def go_on(self) -> list[ServedJob] | None:
        """Let it go on until it waits: the jobs that it waits for; None: the text has ended.

        RuntimeError if it does not wait for all that it asked for.
        """
        handles = next(self._steps, None)
        if handles is None:
            self._session.end()
            return None
        self._session.wait(handles)
        return self._session.news()

    def script(self) -> Script:
        """What it did so far."""
        return self._session.script()
