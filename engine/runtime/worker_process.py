"""The process that hosts models: takes jobs from pipes, one at a time from each, and answers with value and times.

A message (`engine.runtime.messages`) is a function by its module and name, and its arguments. The function's first
parameter is the pipe's `Host`. Times are of the monotonic clock, which all processes of a machine share.
"""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import cache, partial
from importlib import import_module
from multiprocessing import current_process
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from engine.errors import SpecBranchError, spelled
from engine.models.sampling import GREEDY, Sampling
from engine.models.specs import ModelSpec
from engine.policies.forms import NO_SHAPE, Shape, chain, shared
from engine.policies.guesses import guess_of
from engine.policies.ngrams import NONE, NGrams, load_ngrams
from engine.policies.prediction import classify
from engine.policies.protocol import DraftLimits
from engine.policies.repetitions import Repetitions
from engine.policies.tree import Prediction, TokenTree, follows
from engine.runtime.channel import Channel
from engine.runtime.faults import explain, said, words_of
from engine.runtime.loading import load_model
from engine.runtime.messages import End, Watch, encode

if TYPE_CHECKING:
    from engine.models.reader import Forwards

BEAT = encode({})  # says that the worker lives


@dataclass
class Hosted:
    """A model and the text it was told; `trusted` tokens of its cache are known to agree with the text.

    As a draft, it guesses by the text's `repetitions` and by `ngrams`.
    """

    model: Any
    ngrams: NGrams = NONE
    text: list[int] = field(default_factory=list)
    trusted: int = 0
    predictors: dict[str, Any] = field(default_factory=dict)  # H-RAD's networks in the target, by draft
    repetitions: Repetitions = field(default_factory=Repetitions)

    def hear(self, base: int, news: list[int]) -> None:
        """The text is now its first `base` tokens and `news`; base 0 begins a new text."""
        if base == 0:
            self.model.clear(news)
            self.text, self.trusted, self.repetitions = [], 0, Repetitions()
        self.text[base:] = news

    def noted(self) -> int:
        """The tokens known to agree before this job; from now on, the whole text."""
        trusted, self.trusted = self.trusted, len(self.text)
        return trusted


@dataclass
class Host:
    """The models of one worker, by name.

    `stream`: on a CUDA device, what its jobs are queued on. `threads`: the system's ids of its threads, which are on
    `cores` (none before it sits); `beside`: all hosts of the process. `reference`: what the reference operation works
    on, once it was timed. `tell` lets the driver hear something before a job has ended. `callers`: who sends jobs, the
    driver first, and `watch` over them; `linked`: whom this one sends jobs; `spin`: seconds to look for another
    worker's job. `caller`: who waits for the job that is being done, the last of `jobs`. `errands`: what `lend` runs in
    its thread.
    """

    device: str = "cpu"
    models: dict[str, Hosted] = field(default_factory=dict)
    stream: Any = None
    threads: set[int] = field(default_factory=set)
    cores: frozenset[int] = frozenset()
    beside: list["Host"] = field(default_factory=list, repr=False, compare=False)
    reference: Any = None
    tell: Callable[[Any], None] = field(default=lambda news: None, repr=False, compare=False)
    callers: tuple[End, ...] = field(default=(), repr=False, compare=False)
    watch: Watch = field(default_factory=Watch, repr=False, compare=False)
    linked: Channel | None = field(default=None, repr=False, compare=False)
    spin: float = 0.0
    caller: End | None = field(default=None, repr=False, compare=False)
    jobs: int = 0
    errands: "SimpleQueue[Callable[[], None] | None]" = field(
        default_factory=SimpleQueue, repr=False, compare=False
    )

    def listen(self, *callers: End) -> None:
        """From now on, these send jobs."""
        self.callers, self.watch = callers, Watch(*callers)

    def wanted(self) -> bool:
        """Whether the driver has sent another job, so that it does not wait for this one any more."""
        return any(caller is self.callers[0] for caller in self.watch.wait(0.0))

    def computing(self) -> AbstractContextManager[Any]:
        """Where a job is run."""
        if self.stream is None:
            return nullcontext()
        import torch

        return torch.cuda.stream(self.stream)

    def synchronise(self) -> None:
        """Wait until the device has done all that it was given, without which no time means anything."""
        if self.stream is not None:
            self.stream.synchronize()


def sit(host: Host, device: str, cores: list[int]) -> None:
    """Compute on `device`; on the CPU with one thread on each of `cores`.

    SpecBranchError if there is a CUDA device that this torch cannot use.
    """
    import torch

    host.device = device
    if device != "cpu":
        if not torch.cuda.is_available():
            raise SpecBranchError(
                "there is an NVIDIA device, but torch cannot use it: install torch built for CUDA, or set "
                "CUDA_VISIBLE_DEVICES= to compute on the CPU."
            )
        # On streams of their own, two workers of one process can share a device at the same time.
        host.stream = torch.cuda.Stream(torch.device(device))  # type: ignore[no-untyped-call]
    if cores:
        torch.get_num_threads()  # a thread takes the whole process's number when it first asks, so before its own
        torch.set_num_threads(len(cores))
        _pin(host, cores)
        # The pool's threads exist from here on, and are made on the cores of this one.
        torch.ones(256, 256).matmul(torch.ones(256, 256))


def _pin(host: Host, cores: list[int]) -> None:
    """Pin this host's threads, and what libraries have made that nobody counts; never those of the hosts beside.

    A thread is made on its maker's cores. So one that nobody has counted yet is of the host whose cores it is on: were
    it taken for this one's, then it would stay on these cores when its maker gets others.
    """
    if not os.path.isdir("/proc/self/task"):
        return
    known = {thread for one in host.beside for thread in one.threads}
    for thread in {int(name) for name in os.listdir("/proc/self/task")} - known:
        with suppress(ProcessLookupError):  # it has just ended
            on = os.sched_getaffinity(thread)
            next((one for one in host.beside if one.cores == on), host).threads.add(thread)
    host.cores = frozenset(cores)
    for thread in list(host.threads):
        try:
            os.sched_setaffinity(thread, cores)
        except ProcessLookupError:
            host.threads.remove(thread)


def load(
    host: Host, name: str, spec: dict[str, Any], vocabulary: int | None = None
) -> tuple[int | None, bool, bool]:
    """Load a model under a name, unless it is there already; the fields of its `Capabilities`."""
    if name not in host.models:
        made_of = ModelSpec.model_validate(spec)
        ngrams = load_ngrams(made_of.ngrams_file) if made_of.ngrams_file else NONE
        host.models[name] = Hosted(load_model(made_of, host.device, vocabulary), ngrams)
    found = host.models[name].model.decoder.capabilities
    return found.positions, found.rolls_back, found.trees


def learn(host: Host, name: str, draft: str, spec: dict[str, Any], path: str) -> None:
    """Give the target H-RAD's network for a draft."""
    from pathlib import Path

    from engine.models.hrad import load_predictor

    hosted = host.models[name]
    hosted.predictors[draft] = load_predictor(
        Path(path), hosted.model.decoder, ModelSpec.model_validate(spec)
    )


Judged = tuple[tuple[int, ...], int, int, Prediction | None]


def verify(host: Host, name: str, **job: Any) -> Judged:
    """As `verify_by_forwards`, by forwards of this text alone."""
    verdict: Judged
    verdict = host.models[name].model.compute(verify_by_forwards(host, name, **job))
    return verdict


def verify_by_forwards(
    host: Host,
    name: str,
    base: int,
    news: list[int],
    tokens: list[int],
    parents: list[int] | None = None,
    sampling: dict[str, Any] | None = None,
    predict: int = 0,
    draft: str = "",
) -> "Forwards[Judged]":
    """Of a tree, the nodes accepted, the target's own token behind them, how many the model read, and the prediction.

    `parents`: None for a chain. The prediction, for the next `predict` tokens of `draft`, if that is not 0 and the
    whole first line was accepted: else what the draft wrote meanwhile is lost anyway.
    """
    from engine.models import decoding

    hosted = host.models[name]
    hosted.hear(base, news)
    before = hosted.model.cache.tokens_read
    hosted.model.watch = predict > 0
    tree = TokenTree(tuple(tokens), chain(len(tokens)) if parents is None else shared(tuple(parents)))
    path, token = yield from decoding.verify(
        hosted.model, hosted.text, tree, _sampling(sampling), hosted.noted()
    )
    read, prediction = hosted.model.cache.tokens_read - before, None
    if predict and follows(tree, path):
        from engine.models.hrad import watched

        row = path[-1] + 1 if path else 0
        (chances,) = hosted.predictors[draft].predict(watched(hosted.model, [row], [token])).tolist()
        prediction = classify(chances, predict)
    return path, token, read, prediction


def _sampling(given: dict[str, Any] | None) -> Sampling:
    return Sampling(**given) if given else GREEDY


Written = tuple[tuple[int, ...], tuple[int, ...] | None, tuple[float, ...], tuple[int, ...], int, int]


def draft(host: Host, name: str, **job: Any) -> Written:
    """As `draft_by_forwards`, by forwards of this text alone."""
    written: Written = host.models[name].model.compute(draft_by_forwards(host, name, **job))
    return written


def draft_by_forwards(
    host: Host,
    name: str,
    base: int,
    news: list[int],
    line: list[int],
    limits: list[Any],
    sampling: dict[str, Any] | None = None,
) -> "Forwards[Written]":
    """A tree's tokens, parents (None for a chain), confidences and sources; forwards made, and tokens read."""
    from engine.models import decoding

    hosted = host.models[name]
    hosted.hear(base, news)
    before, context = hosted.model.cache.tokens_read, [*hosted.text, *line]
    *plain, (above, ranks) = limits
    shape = Shape(shared(tuple(above)), tuple(ranks)) if ranks else NO_SHAPE
    within = DraftLimits(*[*plain, shape])
    guess = guess_of(hosted.repetitions, hosted.ngrams, hosted.text, line, within)
    written = yield from decoding.write_draft(
        hosted.model, context, within, hosted.noted(), _sampling(sampling), guess
    )
    tree, read = written.tree, hosted.model.cache.tokens_read - before
    parents = None if tree.is_chain else tree.parents
    return tree.tokens, parents, tree.confidences, tree.sources, written.steps, read


def lend(host: Host) -> None:
    """Run the errands that a host beside this one has for this one's thread, until it has no more (None)."""
    while (errand := host.errands.get()) is not None:
        errand()


def unload(host: Host, name: str) -> None:
    """Drop a model and give its memory back."""
    host.models.pop(name, None)
    if host.stream is not None:
        import torch

        torch.cuda.empty_cache()


def serve(beat: float, environment: dict[str, str], *sockets: socket.socket) -> None:
    """Take jobs until the other ends of the pipes are closed; each pipe has a thread and a host of its own.

    Whoever waits for a job hears every `beat` seconds that the process lives. `environment`: the driver's variables,
    which may have changed since the process was made that this one is a fork of.
    """
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's to handle; it closes the pipes
    hosts: list[Host] = []
    hosts += [Host(beside=hosts) for _ in sockets]
    ends = [End(socket_) for socket_ in sockets]
    threading.Thread(target=_live, args=(hosts, beat), daemon=True).start()
    hosts[0].threads.add(threading.get_native_id())
    for host, end in zip(hosts[1:], ends[1:], strict=True):
        thread = threading.Thread(target=_answer, args=(host, end))
        thread.start()
        host.threads.add(thread.native_id or 0)
    _answer(hosts[0], ends[0])


def _live(hosts: list[Host], beat: float) -> None:
    """Every `beat` seconds, tell whoever waits for a job that has lasted since the last time that the process lives.

    The thread gets its turn while a forward computes, since PyTorch and the compiled forwards give the interpreter
    free. A process that is stopped or deadlocked in its interpreter tells nothing.
    """
    before = [0] * len(hosts)
    while True:
        time.sleep(beat)
        for place, host in enumerate(hosts):
            caller, jobs = host.caller, host.jobs
            if caller is not None and jobs == before[place]:
                with suppress(OSError, ValueError):  # it has just gone, and its pipe is closed
                    caller.send_if_idle(BEAT)
            before[place] = jobs


def take_end(host: Host) -> End:
    """The end of a pipe that the driver sends for a job (`engine.runtime.workers.Worker.give`)."""
    host.tell("ready")  # what it sends earlier is taken for a part of its message
    _, (descriptor,), _, _ = socket.recv_fds(host.callers[0].socket, 1, 1)
    return End(socket.socket(fileno=descriptor))


def ask(host: Host, name: str, beside: bool, spin: float) -> None:
    """Take the end of a pipe to the worker of this name, perhaps a thread `beside` this one, to send it jobs.

    It looks for a reply for `spin` seconds before it sleeps.
    """
    if host.linked is not None:
        host.linked.close()
    end = take_end(host)
    host.linked = Channel(name, end, process=current_process() if beside else None, spin=spin)


def hear(host: Host, spin: float) -> None:
    """Take the end of a pipe from another worker, to do its jobs as well, which are looked for `spin` seconds."""
    host.listen(*host.callers, take_end(host))
    host.spin = spin


def _answer(host: Host, driver: End) -> None:
    """Do the jobs of one pipe, which closes with this thread: so the driver hears if it ends."""
    host.tell = partial(_tell, driver)
    host.listen(driver)
    caller = driver
    with driver.socket:
        while True:
            caller = host.watch.wait(None, 0.0 if caller is driver else host.spin)[0]
            try:
                message = caller.receive()
                host.caller = caller
                host.jobs += 1
                reply = answer(host, partial(_call, host, **message), message["name"])
                host.caller = None
                caller.send(reply)
            except (EOFError, OSError):
                if caller is driver:
                    return
                caller.close()
                host.listen(*[other for other in host.callers if other is not caller])
                caller = driver


def _tell(driver: End, news: Any) -> None:
    """SpecBranchError if nobody is there to hear it."""
    try:
        driver.send(encode({"news": news}))
    except OSError as error:
        raise SpecBranchError("the driver is gone.") from error


@cache
def _function(module: str, name: str) -> Any:
    return getattr(import_module(module), name)


def _call(host: Host, module: str, name: str, arguments: dict[str, Any]) -> Any:
    return _function(module, name)(host, **arguments)


def answer(host: Host, job: Callable[[], Any], name: str) -> bytes:
    """Do a job of this name, and encode what `do` says of it."""
    reply = do(host, job, name)
    try:
        return encode(reply)
    except (TypeError, OverflowError) as error:  # a value that no message takes, such as an array
        del reply["value"]
        return encode(reply | {"failed": explain(error, name)})


def do(host: Host, job: Callable[[], Any], name: str) -> dict[str, Any]:
    """Do a job of this name: what `attempt` says of it, and when it began and ended."""
    start = time.perf_counter()
    with host.computing():
        reply = attempt(job, name, host.synchronise)
    return reply | {"start": start, "end": time.perf_counter()}


def attempt(job: Callable[[], Any], name: str, behind: Callable[[], None] | None = None) -> dict[str, Any]:
    """A job's value, once `behind` was done too, or what was wrong.

    `engine.runtime.channel.Ticket.answer` understands it. The traceback of what nobody expected is kept
    (`engine.runtime.faults`).
    """
    reply: dict[str, Any] = {}
    try:
        value = job()
        if behind is not None:
            behind()
        reply["value"] = value
    except SpecBranchError as error:
        reply["error"] = spelled(error)
    except Exception as error:  # a model's code may raise anything; the driver reports it
        if _lacks_memory(error):
            reply["out_of_memory"] = said(error)
        else:
            reply["failed"] = explain(error, name)
    return reply


def _lacks_memory(error: Exception) -> bool:
    """Whether that is why a job failed; torch's allocators and CUDA's libraries only say so in words."""
    words = ("out of memory", "allocate memory", "not enough memory", "bad_alloc", "alloc_failed")
    told = words_of(error).lower()
    named = any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__)
    return isinstance(error, MemoryError) or named or any(word in told for word in words)
