"""One real generation: the policy's session over two models in worker processes. Torch-free."""

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Generic, TypeVar

from engine.errors import OutOfMemory, SpecBranchError, WorkerFailed, WorkerLost
from engine.models.sampling import GREEDY, Sampling
from engine.policies import load_policy
from engine.policies.forms import chain, shared
from engine.policies.load import Alone, Answer, LoadQuestion
from engine.policies.ngrams import NONE, NGrams
from engine.policies.protocol import Draft, DraftLimits, Steps
from engine.policies.repetitions import Repetitions
from engine.policies.settings import Settings
from engine.policies.tree import Round, TokenTree, Verdict
from engine.record import Ending, Job, Run
from engine.runtime import worker_process
from engine.runtime.channel import JOB_SECONDS, SILENCE_SECONDS, Reply, Ticket
from engine.runtime.faults import explain
from engine.runtime.workers import Worker

T = TypeVar("T")

Stopped = Callable[[Sequence[int]], bool]
"""Whether a text, which begins with the prompt, ends with its last token."""

_listed = attrgetter(*DraftLimits.__slots__)  # as `dataclasses.astuple`, without its copies


def never(text: Sequence[int]) -> bool:
    """No text stops by its words."""
    return False


class DraftLost(Exception):
    """The draft is of no more use to this text, which goes on without it; why, in words without a full stop."""


@dataclass(slots=True)
class Pending(Generic[T]):
    """A job in a worker, of the draft if it `drafts`; `value` waits for it and raises what it raised."""

    ticket: Ticket
    understand: Callable[[Reply], T]
    silence: float
    drafts: bool = False
    known: T | None = None

    @property
    def value(self) -> T:
        if self.known is None:
            self.known = self.understand(self.ticket.wait(self.silence, JOB_SECONDS))
        return self.known


@dataclass(frozen=True)
class Player:
    """A model in a worker."""

    worker: Worker
    model: str


@dataclass
class EngineSession:
    """Implements `engine.policies.protocol.Session` on two workers; `text` begins with the prompt's tokens.

    `on_text` hears each stretch of tokens as it is written. A text ends with one of `end_tokens`, or when `stopped`
    says so of it. `ngrams` are the target's. A worker that says nothing for `silence` seconds is given up. `ask`: who
    answers questions about the load; None: the text is alone.
    """

    target: Player
    drafter: Player | None
    text: list[int]
    max_tokens: int
    end_tokens: Collection[int]
    on_text: Callable[[Sequence[int]], None] | None = None
    sampling: Sampling = GREEDY
    ngrams: NGrams = NONE
    silence: float = SILENCE_SECONDS
    stopped: Stopped = never
    written: int = 0
    ending: Ending | None = None
    rounds: list[Round] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)
    repetitions: Repetitions = field(default_factory=Repetitions)
    began: float = field(default_factory=time.perf_counter)
    first_token_seconds: float = 0.0
    ask: Callable[[LoadQuestion], Answer] | None = None
    _alone: Alone = field(default_factory=Alone)
    _told: dict[str, int] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        return self.ending is not None or self.written >= self.max_tokens

    def _news(self, role: str) -> dict[str, object]:
        """The text a model has not heard yet: all of it at first, so that it begins anew."""
        base = self._told.get(role, 0)
        self._told[role] = len(self.text)
        return {"base": base, "news": self.text[base:]}

    def _note(self, reply: Reply, role: str, forwards: int, tokens: int) -> None:
        model = "target" if role == "target" else "draft"
        start, end = reply.start - self.began, reply.end - self.began
        self.jobs.append(Job(model, len(self.rounds), start, end, forwards, tokens))  # type: ignore[arg-type]

    def verify(self, tree: TokenTree, predict: int = 0) -> Pending[Verdict]:
        def understand(reply: Reply) -> Verdict:
            path, token, read, prediction = reply.value
            self._note(reply, "target", 1, read)
            return Verdict(tuple(path), token, prediction)

        self._alone.verified()
        ticket = self.target.worker.submit(
            worker_process.verify,
            name=self.target.model,
            tokens=tree.tokens,
            parents=None if tree.is_chain else tree.parents,
            sampling=self._sampling,
            predict=predict,
            draft=self.drafter.model if self.drafter else "",
            **self._news("target"),
        )
        return Pending(ticket, understand, self.silence)

    @property
    def _sampling(self) -> dict[str, object]:
        return self.sampling.model_dump() if not self.sampling.greedy else {}

    def draft(self, tree: TokenTree, limits: DraftLimits) -> Pending[Draft]:
        if self.drafter is None:
            raise SpecBranchError("this policy drafts, so it needs a draft model.")

        def understand(reply: Reply) -> Draft:
            tokens, parents, confidences, sources, steps, read = reply.value
            self._note(reply, "draft", steps, read)
            parents = chain(len(tokens)) if parents is None else shared(tuple(parents))
            return Draft(TokenTree(tuple(tokens), parents, tuple(confidences), tuple(sources)), steps)

        try:
            ticket = self.drafter.worker.submit(
                worker_process.draft,
                name=self.drafter.model,
                line=tree.first_line,
                limits=_listed(limits),
                sampling=self._sampling,
                **self._news("draft"),
            )
        except Exception as error:
            raise self._without_draft(error) from error
        return Pending(ticket, understand, self.silence, drafts=True)

    def load(self, question: LoadQuestion) -> Answer:
        return Answer(self._alone.answer(question)) if self.ask is None else self.ask(question)

    def _without_draft(self, error: Exception) -> Exception:
        """Losing the draft ends nothing, unless its process was the target's too.

        That it refuses a text before anything is written is for the user to hear, and ends the text.
        After anything that it raised itself, a draft is dropped, with its process or, beside the target, alone: its
        memory is wanted, or its state is anybody's guess. A later text loads it anew.
        """
        assert self.drafter is not None
        worker, beside = self.drafter.worker, self.drafter.worker.process is self.target.worker.process
        if isinstance(error, WorkerLost) and not isinstance(error, OutOfMemory):
            lost = f"{error} It hosted target and draft."
            return WorkerLost(lost) if beside else DraftLost(_clause(error))
        if isinstance(error, SpecBranchError):
            refused = not isinstance(error, OutOfMemory | WorkerFailed)
            if refused and not self.written:
                return error
            why = _clause(error)
        else:
            why = f"it could not be understood ({explain(error, 'draft')})"
        if beside:
            with suppress(WorkerFailed):  # a device may do nothing more
                worker.submit(worker_process.unload, name=self.drafter.model).wait(self.silence, JOB_SECONDS)
        else:
            worker.close()
        return DraftLost(f"while drafting, {why}")

    def wait(self, handle: Pending[object] | Answer) -> None:
        """Wait for a handle. DraftLost if it was the draft's, whatever happened to it."""
        try:
            _ = handle.value
        except Exception as error:
            if isinstance(handle, Pending) and handle.drafts:
                raise self._without_draft(error) from error
            raise

    def emit(self, tokens: Sequence[int]) -> int:
        before = self.written
        for token in tokens:
            if self.finished:
                break
            self.text.append(token)
            self.written += 1
            if token in self.end_tokens:
                self.ending = "end-of-text"
            elif self.stopped(self.text):
                self.ending = "stop-text"
        if self.on_text and self.written > before:
            self.on_text(self.text[len(self.text) - self.written + before :])
        return self.written - before

    def close_round(self, counts: Round) -> None:
        if not self.rounds:
            self.first_token_seconds = time.perf_counter() - self.began
        self.rounds.append(counts)

    def alone(self, error: DraftLost) -> str:
        """The warning of a text that goes on without its draft."""
        return f"the target went on alone after {self.written} tokens: {error}."

    def run(self, prompt: int, shared: bool, warning: str | None) -> Run:
        """What was written behind a prompt of so many tokens; `shared`: both models took turns on one device."""
        return Run(
            world="engine",
            tokens=tuple(self.text[prompt:]),
            rounds=tuple(self.rounds),
            jobs=tuple(self.jobs),
            seconds=time.perf_counter() - self.began,
            first_token_seconds=self.first_token_seconds,
            shared=shared,
            ending=self.ending or "token-limit",
            warning=warning,
        )


def generate(
    settings: Settings,
    target: Player,
    drafter: Player | None,
    prompt: Sequence[int],
    *,
    max_tokens: int,
    end_tokens: Collection[int] = (),
    on_text: Callable[[Sequence[int]], None] | None = None,
    sampling: Sampling = GREEDY,
    ngrams: NGrams = NONE,
    began: float | None = None,
    silence: float = SILENCE_SECONDS,
    stopped: Stopped = never,
) -> Run:
    """Write up to `max_tokens` tokens after `prompt` (token ids, at least one); `ngrams` are the target's.

    `began`: when, by the monotonic clock, from which seconds are counted; none: now.

    If the draft's worker is lost or fails, the target goes on alone and the run carries a warning. WorkerLost if the
    target's is lost, WorkerFailed if it fails; ConfigurationError if there is no such policy.
    """
    policy = load_policy(settings.policy)
    session = EngineSession(
        target, drafter, list(prompt), max_tokens, end_tokens, on_text, sampling, ngrams, silence, stopped
    )
    session.began = began or session.began
    warning = None
    try:
        _drive(session, policy(session, settings))
    except DraftLost as error:
        warning = session.alone(error)
        _drive(session, load_policy("autoregressive")(session, settings))
    return session.run(len(prompt), drafter is not None and drafter.worker is target.worker, warning)


def _clause(error: Exception) -> str:
    return str(error).removesuffix(".")


def _drive(session: EngineSession, steps: Steps) -> None:
    for waits in steps:
        for handle in waits:
            session.wait(handle)  # type: ignore[arg-type]  # every handle of this session is a Pending
