"""A generation whose policy runs in the process of its models, which take turns there: no message lies between jobs.

The driver sends what is to be written and hears the text, and the whole run in the end. Torch-free, as a driver is.
"""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Any, cast

from engine.configuration import Configuration
from engine.models import TARGET
from engine.policies import load_policy
from engine.policies.words import Round
from engine.record import Job, Run
from engine.sampling import GREEDY, Sampling
from engine.session import Player, generate
from engine.worker_process import Host, do
from engine.workers import SILENCE_SECONDS, Ticket, Worker

BEAT = 1.0  # seconds after which a driver hears that a text goes on, whether it listens to the text or not

_job, _round = attrgetter(*Job.__slots__), attrgetter(*Round.__slots__)


@dataclass
class Local:
    """Stands for `engine.workers.Worker` in the worker itself: does a job when it is asked for."""

    host: Host
    name: str = TARGET
    process: None = None  # it is this one, whichever model's

    def submit(self, function: Callable[..., Any], **arguments: Any) -> Ticket:
        """A ticket for `function(host, **arguments)`, which is done."""
        ticket = Ticket(cast(Worker, self), time.perf_counter())
        ticket.answer(
            do(self.host, partial(function, self.host, **arguments)), time.perf_counter(), self.name
        )
        return ticket


def write(
    host: Host,
    configuration: dict[str, Any],
    models: list[str],
    prompt: list[int],
    max_tokens: int,
    end_tokens: list[int],
    sampling: dict[str, Any],
    began: float,
    every: float,
) -> list[Any]:
    """A whole text by the target and perhaps a draft, `models` of this worker; the driver hears of it as it is written.

    It is told at most once in `every` seconds. Returns what `generate_there` makes a run of.
    """
    here = cast(Worker, Local(host))
    target, *drafts = [Player(here, model) for model in models]
    news: list[int] = []
    told = time.perf_counter()

    def tell(tokens: Sequence[int]) -> None:
        nonlocal told
        news.extend(tokens)
        now = time.perf_counter()
        if now - told >= every:
            host.tell(news)
            told = now
            news.clear()

    run = generate(
        Configuration(**configuration),
        target,
        drafts[0] if drafts else None,
        prompt,
        max_tokens=max_tokens,
        end_tokens=end_tokens,
        on_text=tell,
        sampling=Sampling(**sampling),
        ngrams=host.models[target.model].ngrams,
        began=began,
    )
    rounds, jobs = [_round(counts) for counts in run.rounds], [_job(job) for job in run.jobs]
    return [news, run.tokens, rounds, jobs, run.first_token_seconds, run.ending, run.warning]


def generate_there(
    configuration: Configuration,
    target: Player,
    drafter: Player | None,
    prompt: Sequence[int],
    *,
    max_tokens: int,
    end_tokens: Collection[int] = (),
    on_text: Callable[[Sequence[int]], None] | None = None,
    sampling: Sampling = GREEDY,
) -> Run:
    """`engine.session.generate` in the worker that hosts both models."""
    load_policy(configuration.policy)
    hear = on_text or (lambda tokens: None)
    began = time.perf_counter()
    ticket = target.worker.submit(
        write,
        configuration=configuration.model_dump(mode="json"),
        models=[player.model for player in (target, drafter) if player],
        prompt=list(prompt),
        max_tokens=max_tokens,
        end_tokens=list(end_tokens),
        sampling=sampling.model_dump(),
        began=began,
        every=0.0 if on_text else BEAT,
    )
    ticket.on_news = hear
    try:
        last, tokens, rounds, jobs, first, ending, warning = ticket.wait(SILENCE_SECONDS).value
    except BaseException:
        ticket.on_news = lambda news: None  # a text that goes on is nobody's any more
        raise
    seconds = time.perf_counter() - began
    if last:
        hear(last)
    return Run(
        world="engine",
        tokens=tuple(tokens),
        rounds=tuple(Round(*counts) for counts in rounds),
        jobs=tuple(Job(*job) for job in jobs),
        seconds=seconds,
        first_token_seconds=first,
        shared=drafter is not None,
        ending=ending,
        warning=warning,
    )
