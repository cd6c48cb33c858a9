"""Who serves in a benchmark of many requests: our engine, and rivals in environments of their own. Torch-free."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

from engine.configuration import Configuration
from engine.errors import SpecBranchError
from engine.metrics import measure
from engine.models.specs import ModelSpec
from engine.runtime.pair import Pair
from engine.runtime.requests import Request
from engine.runtime.scheduler import Budget
from engine.runtime.served_session import Serve
from reports.race.environments import Rival, Tell, environment, model_for
from reports.race.process import Answer, RivalProcess

OURS = "SpecBranch Lab"


class Contestant(Protocol):
    """An engine that has one pair; `title` is for tables, `version` once it has served; whether it is `ours`."""

    @property
    def title(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def ours(self) -> bool: ...

    def serve(self, prompts: Sequence[Sequence[int]], tokens: int, draft_tokens: int) -> Answer:
        """So many `tokens` behind each prompt (token ids), all at once, greedily and beyond ends of texts.

        `draft_tokens`: how many are drafted a round, 0 to decode autoregressively. SpecBranchError if it fails.
        """
        ...

    def keep(self, lengths: Collection[int]) -> None:
        """From here on it is asked for these `draft_tokens` only."""
        ...


@dataclass
class Ours:
    """Our engine on a pair, all of whose cores compute in turn; `draft` by its name, where there is one."""

    pair: Pair
    title: str = OURS
    draft: str | None = None
    ours: bool = True

    @property
    def version(self) -> str:
        return f"{OURS} {version('specbranch-lab')}"

    def serve(self, prompts: Sequence[Sequence[int]], tokens: int, draft_tokens: int) -> Answer:
        configuration = Configuration(policy="autoregressive", placement="in-turn")
        if draft_tokens:
            configuration = Configuration(
                policy="speculative", draft=self.draft, draft_length=draft_tokens, placement="in-turn"
            )
        requests = [Request(list(prompt), configuration, tokens) for prompt in prompts]
        how = Serve([0.0] * len(requests), budget=Budget(sequences=len(requests)))
        served = self.pair.serve(configuration, requests, how)
        return Answer(
            tuple(tuple(run.tokens) for run in served.runs),
            max(request.ended for request in served.service.requests),
            measure(served.runs).mean_accepted_length,
        )

    def keep(self, lengths: Collection[int]) -> None:
        """Nothing has to be given up."""


@dataclass
class Theirs:
    """A rival's processes: one for all that it is asked for, or one for each number of tokens drafted."""

    rival: Rival
    python: Path
    model: Path
    draft: Path | None
    cores: tuple[int, ...]
    requests: int
    places: int
    folder: Path
    tell: Tell
    version: str = ""
    ours: bool = False
    _processes: dict[int, RivalProcess] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return self.rival.title

    def serve(self, prompts: Sequence[Sequence[int]], tokens: int, draft_tokens: int) -> Answer:
        key = self._key(draft_tokens)
        if key not in self._processes:
            self._processes[key] = self._start(key)
        return self._processes[key].serve(prompts, tokens, draft_tokens)

    def _key(self, draft_tokens: int) -> int:
        return draft_tokens if self.rival.fixed_draft_tokens else min(draft_tokens, 1)

    def _start(self, key: int) -> RivalProcess:
        self.tell(
            f"loading {self.title}" + (f" to draft {key}" if self.rival.fixed_draft_tokens and key else "")
        )
        options = {
            "model": str(self.model),
            "draft": str(self.draft) if key and self.draft else None,
            "cores": list(self.cores),
            "requests": self.requests,
            "places": self.places,
            "draft_tokens": key,
        }
        log = self.folder / f"{self.rival.name}-{self.model.name}-{key}.log"
        process = RivalProcess(self.python, self.rival.name, options, log)
        self.version = process.title
        return process

    def keep(self, lengths: Collection[int]) -> None:
        """End the processes that are not needed any more."""
        wanted = {self._key(length) for length in lengths}
        for key in [key for key in self._processes if key not in wanted]:
            self._processes.pop(key).close()


@contextmanager
def open_rivals(
    rivals: Sequence[Rival],
    target: ModelSpec,
    draft: ModelSpec | None,
    cores: tuple[int, ...],
    requests: int,
    places: int,
    folder: Path,
    tell: Tell,
) -> Iterator[tuple[list[Theirs], list[str]]]:
    """The rivals that have the pair in their form, to serve so many `requests` of up to so many `places`.

    And of those that have not, why, in a sentence each. Leaving it ends their processes.
    """
    found: list[Theirs] = []
    missing: list[str] = []
    with ExitStack() as ending:
        for rival in rivals:
            try:
                python = environment(rival, folder, tell)
                model = model_for(rival, target, folder, python, tell)
                helper = model_for(rival, draft, folder, python, tell) if draft else None
            except SpecBranchError as error:
                missing.append(str(error))
                continue
            theirs = Theirs(rival, python, model, helper, cores, requests, places, folder, tell)
            ending.callback(theirs.keep, ())
            found.append(theirs)
        yield found, missing
