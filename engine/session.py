"""One real generation, greedy: the policy's session over two models, each in a worker thread of its own."""

import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import torch

from engine.cached_model import CachedModel
from engine.policies import load_policy
from engine.policies.settings import Settings
from engine.policies.words import Draft, DraftLimits, Line, Round, Verdict

T = TypeVar("T")


@dataclass(frozen=True)
class Pending(Generic[T]):
    """A job in a worker; `value` waits for it and raises what it raised."""

    future: "Future[T]"

    @property
    def value(self) -> T:
        return self.future.result()


@dataclass
class Worker:
    """A model's thread: one job at a time; `busy` in seconds."""

    threads: int = 1
    busy: float = 0.0

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(self.threads,))

    def submit(self, job: Callable[[], T]) -> Pending[T]:
        def timed() -> T:
            start = time.perf_counter()
            try:
                return job()
            finally:
                self.busy += time.perf_counter() - start

        return Pending(self._pool.submit(timed))

    def close(self) -> None:
        self._pool.shutdown()


def verify_greedily(target: CachedModel, text: Sequence[int], line: Line) -> Verdict:
    """Accept the tokens of `line` that are the target's argmax, then give the target's own token."""
    unread = target.rewind(text)
    choices = target.read([*unread, *line.tokens])[len(unread) - 1 :].argmax(dim=-1).tolist()
    accepted = next((i for i, t in enumerate(line.tokens) if t != choices[i]), len(line))
    return Verdict(accepted, choices[accepted])


def draft_greedily(draft: CachedModel, context: Sequence[int], limits: DraftLimits) -> Draft:
    """Branch at the end of `context`, then extend every branch until it is long enough or unsure."""
    first = draft.read(draft.rewind(context))[-1].softmax(dim=-1).topk(limits.branches)
    count = limits.branch_count(float(first.values[0]))
    tokens = [[t] for t in first.indices.tolist()[:count]]
    confidences = [[c] for c in first.values.tolist()[:count]]
    active, steps = list(range(count)), 1
    while active and steps < limits.length:
        best = draft.read_branches([(b, tokens[b][-1]) for b in active]).softmax(dim=-1).max(dim=-1)
        steps += 1
        found = zip(active, best.indices.tolist(), best.values.tolist(), strict=True)
        sure = [(b, t, c) for b, t, c in found if c >= limits.min_confidence]
        for branch, token, confidence in sure:
            tokens[branch].append(token)
            confidences[branch].append(confidence)
        active = [branch for branch, _, _ in sure]
    lines = (Line(tuple(t), tuple(c)) for t, c in zip(tokens, confidences, strict=True))
    return Draft(tuple(lines), steps)


@dataclass
class EngineSession:
    """Implements `engine.policies.words.Session` on two models; `text` begins with the prompt's tokens."""

    target: CachedModel
    draft_model: CachedModel | None
    text: list[int]
    max_tokens: int
    end_tokens: Collection[int]
    target_worker: Worker
    draft_worker: Worker
    written: int = 0
    ended: bool = False
    rounds: list[Round] = field(default_factory=list)

    @property
    def finished(self) -> bool:
        return self.ended or self.written >= self.max_tokens

    def verify(self, line: Line) -> Pending[Verdict]:
        text = tuple(self.text)
        return self.target_worker.submit(lambda: verify_greedily(self.target, text, line))

    def draft(self, line: Line, limits: DraftLimits) -> Pending[Draft]:
        model, context = self.draft_model, (*self.text, *line.tokens)
        if model is None:
            raise ValueError("this policy drafts, so it needs a draft model")
        return self.draft_worker.submit(lambda: draft_greedily(model, context, limits))

    def emit(self, tokens: Sequence[int]) -> int:
        fits = 0
        for token in tokens:
            if self.finished:
                break
            self.text.append(token)
            self.written += 1
            self.ended = token in self.end_tokens
            fits += 1
        return fits

    def close_round(self, counts: Round) -> None:
        self.rounds.append(counts)


@dataclass(frozen=True)
class Generation:
    """Token ids written (end of text included), the rounds, and seconds: wall, target busy, draft busy."""

    tokens: tuple[int, ...]
    rounds: tuple[Round, ...]
    seconds: float
    target_busy: float
    draft_busy: float


def generate(
    settings: Settings,
    target: CachedModel,
    draft: CachedModel | None,
    prompt: Sequence[int],
    *,
    max_tokens: int,
    end_tokens: Collection[int] = (),
    threads: int = 1,
) -> Generation:
    """Write up to `max_tokens` tokens after `prompt` (token ids, at least one), greedily."""
    workers = Worker(threads), Worker(threads)
    session = EngineSession(target, draft, list(prompt), max_tokens, end_tokens, *workers)
    policy = load_policy(settings.policy)
    start = time.perf_counter()
    try:
        for waits in policy(session, settings):
            for handle in waits:
                _ = handle.value
    finally:
        for worker in workers:
            worker.close()
    seconds = time.perf_counter() - start
    written = tuple(session.text[len(prompt) :])
    return Generation(written, tuple(session.rounds), seconds, workers[0].busy, workers[1].busy)
