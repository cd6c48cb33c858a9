"""The process that hosts models: takes jobs from a pipe, one at a time, and answers with value and times.

A message is JSON: a function by its module and name, and its arguments. The function's first parameter is this
process's `Host`. Times are of the monotonic clock, which all processes of a machine share.
"""

import json
import os
import signal
import time
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any

from engine.errors import SpecBranchError
from engine.models import ModelSpec, load_model
from engine.policies.words import DraftLimits


@dataclass
class Hosted:
    """A model and the text it was told; `trusted` tokens of its cache are known to agree with the text."""

    model: Any
    text: list[int] = field(default_factory=list)
    trusted: int = 0

    def hear(self, base: int, news: list[int]) -> None:
        """The text is now its first `base` tokens and `news`; base 0 begins a new text."""
        if base == 0:
            self.model.clear()
            self.text, self.trusted = [], 0
        self.text[base:] = news

    def noted(self) -> int:
        """The tokens known to agree before this job; from now on, the whole text."""
        trusted, self.trusted = self.trusted, len(self.text)
        return trusted


@dataclass
class Host:
    """The models of one process, by name."""

    device: str = "cpu"
    models: dict[str, Hosted] = field(default_factory=dict)


def sit(host: Host, device: str, cores: list[int]) -> None:
    """Compute on `device`; on the CPU with one thread on each of `cores`."""
    import torch

    host.device = device
    if cores:
        torch.set_num_threads(len(cores))
        torch.ones(256, 256).matmul(torch.ones(256, 256))  # the pool's threads exist before they are pinned
        for thread in os.listdir("/proc/self/task") if os.path.isdir("/proc/self/task") else []:
            os.sched_setaffinity(int(thread), cores)


def load(host: Host, name: str, spec: dict[str, Any]) -> None:
    """Load a model under a name, unless it is there already."""
    if name not in host.models:
        host.models[name] = Hosted(load_model(ModelSpec.model_validate(spec), host.device))


def verify(host: Host, name: str, base: int, news: list[int], line: list[int]) -> tuple[int, int, int]:
    """Accepted tokens, the target's own token, and how many tokens the model read."""
    from engine import decoding

    hosted = host.models[name]
    hosted.hear(base, news)
    before = hosted.model.ledger.tokens_read
    verdict = decoding.verify(hosted.model, hosted.text, line, hosted.noted())
    return verdict.accepted, verdict.token, hosted.model.ledger.tokens_read - before


def draft(
    host: Host, name: str, base: int, news: list[int], line: list[int], limits: list[Any]
) -> tuple[list[tuple[list[int], list[float]]], int, int]:
    """Branches as (tokens, confidences), how many forwards they took, and how many tokens the model read."""
    from engine import decoding

    hosted = host.models[name]
    hosted.hear(base, news)
    before, context = hosted.model.ledger.tokens_read, [*hosted.text, *line]
    written = decoding.write_branches(hosted.model, context, DraftLimits(*limits), hosted.noted())
    branches = [(list(b.tokens), list(b.confidences)) for b in written.branches]
    return branches, written.steps, hosted.model.ledger.tokens_read - before


def serve(connection: Connection) -> None:
    """Take jobs until the other end of the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's to handle; it closes the pipe
    host = Host()
    while True:
        try:
            message = json.loads(connection.recv_bytes())
        except (EOFError, OSError):
            return
        start = time.perf_counter()
        reply: dict[str, Any] = {}
        try:
            function = getattr(import_module(message["module"]), message["name"])
            reply["value"] = function(host, **message["arguments"])
        except SpecBranchError as error:
            reply["error"] = str(error)
        except Exception as error:  # a model's code may raise anything; the driver reports it
            reply["error"] = f"a worker failed ({type(error).__name__}: {str(error).splitlines()[:1]})"
        reply["start"], reply["end"] = start, time.perf_counter()
        try:
            connection.send_bytes(json.dumps(reply).encode())
        except OSError:
            return
