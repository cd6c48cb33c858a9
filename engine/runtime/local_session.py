"""A generation whose policy runs in the target's worker, so that no message lies between two jobs of the target.

A draft takes turns with it there, or has a worker of its own, to which the target's sends jobs. The driver sends what
is to be written and hears the text, and the whole run in the end. Torch-free, as a driver is.
"""

import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from multiprocessing import current_process
from multiprocessing.process import BaseProcess
from typing import Any, cast

from engine.configuration import Configuration
from engine.errors import SpecBranchError
from engine.models.sampling import GREEDY, Sampling
from engine.models.specs import TARGET, ModelSpec
from engine.policies import load_policy
from engine.record import Run
from engine.runtime.channel import BEAT_SECONDS, JOB_SECONDS, SILENCE_SECONDS, Channel, Ticket
from engine.runtime.run_message import from_message, to_message
from engine.runtime.session import Player, generate, never
from engine.runtime.worker_process import Host, do
from engine.runtime.workers import Worker


@dataclass
class Local:
    """Stands for `engine.runtime.channel.Channel` in the worker: does its jobs in order, when one is waited for."""

    host: Host
    name: str = TARGET
    process: BaseProcess = field(default_factory=current_process)
    _outstanding: deque[tuple[Ticket, Callable[[], Any], str]] = field(default_factory=deque)

    def submit(self, function: Callable[..., Any], **arguments: Any) -> Ticket:
        """A ticket for `function(host, **arguments)`."""
        ticket = Ticket(cast(Channel, self), time.perf_counter())
        self._outstanding.append((ticket, partial(function, self.host, **arguments), function.__name__))
        return ticket

    def receive(self, silence: float | None, longest: float | None) -> None:
        """Do the oldest job."""
        ticket, job, name = self._outstanding.popleft()
        ticket.answer(do(self.host, job, name), time.perf_counter(), self.name)


def write(
    host: Host,
    configuration: dict[str, Any],
    models: list[str],
    apart: bool,
    silence: float,
    prompt: list[int],
    max_tokens: int,
    end_tokens: list[int],
    sampling: dict[str, Any],
    began: float,
    every: float,
    stops: Sequence[str] = (),
    tokenizer: str = "",
) -> list[Any]:
    """A whole text by the target and perhaps a draft, `models`; the driver hears of it as it is written.

    The draft is in this worker too or, if it is `apart`, in the one that this one is linked to, which is given up after
    `silence` seconds. The text ends with one of `stops` as well, in the words of the tokenizer of a spec's JSON. The
    driver is told at most once in `every` seconds. Returns what it was not told, and the run as a message.
    SpecBranchError when the driver has given the text up.
    """
    here = cast(Worker, Local(host))
    target = Player(here, models[0])
    other = cast(Worker, host.linked) if apart else here
    drafts = [Player(other, model) for model in models[1:]]
    news: list[int] = []
    told = time.perf_counter()

    def tell(tokens: Sequence[int]) -> None:
        nonlocal told
        news.extend(tokens)
        now = time.perf_counter()
        if now - told >= every:
            if host.wanted():
                raise SpecBranchError("the text was given up.")
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
        silence=silence,
        stopped=partial(_tokenizer(tokenizer).completes, stops=stops) if stops else never,
    )
    return [news, to_message(run)]


@cache
def _tokenizer(spec: str) -> Any:
    """The tokenizer of a spec's JSON."""
    from engine.models.tokenizer import Tokenizer

    return Tokenizer(ModelSpec.model_validate_json(spec))


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
    stops: Sequence[str] = (),
    spec: ModelSpec,
) -> Run:
    """`engine.runtime.session.generate` in the target's worker, which is linked to the draft's if it has one of its
    own.

    The text ends with one of `stops` too, in the words of the target, whose `spec` it is.
    """
    load_policy(configuration.policy)
    hear = on_text or (lambda tokens: None)
    apart = drafter is not None and drafter.worker is not target.worker
    began = time.perf_counter()
    ticket = target.worker.submit(
        write,
        configuration=configuration.model_dump(mode="json"),
        models=[player.model for player in (target, drafter) if player],
        apart=apart,
        silence=SILENCE_SECONDS,
        prompt=list(prompt),
        max_tokens=max_tokens,
        end_tokens=list(end_tokens),
        sampling=sampling.model_dump(),
        began=began,
        stops=list(stops),
        tokenizer=spec.model_dump_json(),
        every=0.0 if on_text else BEAT_SECONDS,  # that a text goes on, whether anybody listens to it or not
    )
    ticket.on_news = hear
    try:
        # The draft's worker is given up first.
        last, message = ticket.wait((1 + apart) * SILENCE_SECONDS, (1 + apart) * JOB_SECONDS).value
    except BaseException:
        ticket.on_news = lambda news: None  # a text that goes on is nobody's any more
        raise
    seconds = time.perf_counter() - began
    if last:
        hear(last)
    return from_message(message, drafter is not None and not apart, seconds)
