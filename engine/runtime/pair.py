"""A target and its drafts in worker processes, ready to generate under any configuration. Torch-free."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType

from engine.configuration import Configuration
from engine.errors import ConfigurationError, OutOfMemory, WorkerFailed, WorkerLost
from engine.models.capabilities import Capabilities, check_length, check_rolls_back
from engine.models.sampling import GREEDY, Sampling
from engine.models.specs import TARGET, ModelSpec
from engine.models.tokenizer import Tokenizer
from engine.policies.ngrams import NONE, load_ngrams
from engine.record import Run
from engine.runtime import worker_process
from engine.runtime.local_session import generate_there
from engine.runtime.placement import (
    Placement,
    Seating,
    cuda_devices,
    seat_models,
    serving_placement,
    usable_cores,
)
from engine.runtime.requests import Request
from engine.runtime.served_session import Progress, Serve, ServedTexts, serve_there
from engine.runtime.session import Player, generate, never
from engine.runtime.waiting import Waits, waits
from engine.runtime.workers import CAN_LINK, Worker, link, prepare, start

THREADS = (
    TARGET,
    "draft thread",
)  # the roles of workers that share a process, so that no target is loaded twice


@dataclass
class Pair:
    """The workers: one hosts the target and, for turns, the drafts; another, a thread of the same process, and a
    third, a process of its own, host the drafts alone.

    A context manager; leaving it ends the workers. `drafts` by name, the first one being the default, and
    `predictors` H-RAD's networks for them (see `find_predictors`). `vocabulary`: how many tokens there are, beyond
    which a model's head may have rows that are none; None where it has not.
    """

    target: ModelSpec
    drafts: Mapping[str, ModelSpec]
    predictors: Mapping[str, Path] = field(default_factory=dict)
    cores: tuple[int, ...] = field(default_factory=usable_cores)
    cuda_devices: int = 0
    vocabulary: int | None = None
    _capabilities: dict[str, Capabilities] = field(default_factory=dict)  # of each model that was loaded
    _workers: dict[str, Worker] = field(default_factory=dict)
    _hosted: set[tuple[str, str]] = field(default_factory=set)
    _linked: tuple[Worker, Worker] | None = None

    def __enter__(self) -> "Pair":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers.values():
            worker.close()

    def waits(self) -> Waits:
        """What the threads of all its workers have waited for a core that something else had, since they began."""
        return waits({worker.process.pid for worker in self._workers.values() if worker.process.pid})

    def seating(self, placement: Placement) -> Seating:
        """Where a placement puts the models here."""
        return seat_models(placement, self.cores, self.cuda_devices)

    def _host(self, *seats: tuple[str, str]) -> list[Player]:
        """The models in the workers of these roles, as (role, model); what is not loaded yet is loaded side by side."""
        loads = {
            seat: self._workers[seat[0]].submit(
                worker_process.load,
                name=seat[1],
                spec=self._spec(seat[1]).model_dump(mode="json"),
                vocabulary=self.vocabulary,
            )
            for seat in seats
            if seat not in self._hosted
        }
        for seat, load in loads.items():
            self._capabilities[seat[1]] = Capabilities(*load.wait().value)
            self._hosted.add(seat)
        return [Player(self._workers[role], model) for role, model in seats]

    def _spec(self, model: str) -> ModelSpec:
        return self.target if model == TARGET else self.drafts[model]

    def _worker(self, role: str) -> Worker:
        if role not in self._workers or self._workers[role].lost:
            roles = THREADS if role in THREADS else (role,)
            self._workers.update(zip(roles, start(*roles), strict=True))
            self._hosted = {(r, m) for r, m in self._hosted if r not in roles}
        return self._workers[role]

    def players(self, placement: Placement, draft: str | None) -> tuple[Player, Player | None]:
        """Seat the models, loading what is not loaded yet; a lost worker is started again.

        ConfigurationError if a draft is asked for, and one of the models cannot forget what was drafted in vain.
        """
        seating = self.seating(placement)
        self._worker(TARGET).sit(seating.target)
        if draft is None:
            return self._host((TARGET, TARGET))[0], None
        role = TARGET if seating.shared else THREADS[1] if seating.threads else "draft"
        self._worker(role).sit(seating.draft)
        target, drafter = self._host((TARGET, TARGET), (role, draft))
        for model in (TARGET, draft):
            check_rolls_back(self._capabilities[model], self._spec(model).source, _role(model))
        return target, drafter

    def _link(self, target: Worker, drafter: Worker | None) -> bool:
        """Whether the target's worker can run a policy, and send jobs to the draft's where that is another one."""
        if drafter is None or drafter is target:
            return True
        if CAN_LINK and self._linked != (target, drafter):
            link(target, drafter)
            self._linked = (target, drafter)
        return CAN_LINK

    def teach(self, target: Player, draft: str) -> None:
        """See that the target has H-RAD's network for a draft. ConfigurationError if there is none."""
        key = (target.worker.name, f"H-RAD for {draft}")
        if key in self._hosted:
            return
        if draft not in self.predictors:
            raise ConfigurationError(
                f"there is no H-RAD network for the draft '{draft}': train one with 'specbranch train-hrad', or "
                "leave H-RAD out."
            )
        spec = self.drafts[draft].model_dump(mode="json")
        path = str(self.predictors[draft])
        target.worker.call(worker_process.learn, name=target.model, draft=draft, spec=spec, path=path)
        self._hosted.add(key)

    def _ready(
        self,
        configuration: Configuration,
        placement: Placement,
        draft: str | None,
        lengths: Collection[tuple[int, int]],
    ) -> tuple[Player, Player | None]:
        """The players, once it is clear that they can write texts of these lengths, of prompts and behind them."""
        players = self.players(placement, draft)
        if "draft_length" in configuration.uses:
            check_rolls_back(self._capabilities[TARGET], self.target.source, TARGET)
        for model in filter(None, (TARGET, draft)):
            found, source = self._capabilities[model], self._spec(model).source
            for prompt, tokens in lengths:
                check_length(found, source, _role(model), prompt, tokens)
        if configuration.hrad and "hrad" in configuration.uses and draft is not None:
            self.teach(players[0], draft)
        return players

    def generate(
        self,
        configuration: Configuration,
        prompt: Sequence[int],
        *,
        max_tokens: int,
        end_tokens: Collection[int] = (),
        on_text: Callable[[Sequence[int]], None] | None = None,
        sampling: Sampling = GREEDY,
        stops: Sequence[str] = (),
    ) -> Run:
        """Write up to `max_tokens` tokens after `prompt` (token ids); see `engine.runtime.session.generate`.

        The text ends with one of `stops` as well, which is part of it, as it is of transformers' `stop_strings`.
        ConfigurationError where a model cannot do what is asked of it: forget tokens, or go on as far.
        """
        draft = configuration.draft_among(self.drafts)
        players = self._ready(configuration, configuration.placement, draft, [(len(prompt), max_tokens)])
        target, drafter = players[0].worker, players[1].worker if players[1] else None
        write: Callable[..., Run]
        if self._link(target, drafter):
            write = partial(generate_there, stops=stops, spec=self.target)
        else:
            file = self.target.ngrams_file
            stopped = partial(Tokenizer(self.target).completes, stops=stops) if stops else never
            write = partial(generate, ngrams=load_ngrams(file) if file else NONE, stopped=stopped)
        with _ending(target):
            run = write(
                configuration,
                *players,
                prompt,
                max_tokens=max_tokens,
                end_tokens=end_tokens,
                on_text=on_text,
                sampling=sampling,
            )
        if run.warning is not None:
            if drafter is not None and drafter.process is not target.process:
                drafter.close()
            self._lose(draft)
        return run

    def serve(
        self,
        configuration: Configuration,
        requests: Sequence[Request],
        how: Serve,
        progress: Progress | None = None,
    ) -> ServedTexts:
        """Serve requests together, by policies that need what `configuration` says of drafts and placement.

        Where each model has a device, both have a thread of one process. ConfigurationError where a model cannot do
        what is asked of it; see `engine.runtime.served_session.serve_there`.
        """
        draft = configuration.draft_among(self.drafts)
        lengths = {(len(request.prompt), request.max_tokens) for request in requests}
        placement = serving_placement(configuration.placement, draft)
        target, drafter = self._ready(configuration, placement, draft, lengths)
        with _ending(target.worker):
            served = serve_there(target, drafter, requests, how, progress)
        if any(run.warning for run in served.runs):
            self._lose(draft)
        return served

    def _lose(self, draft: str | None) -> None:
        """The draft may be gone though its worker is not; what is still there is not loaded twice."""
        self._hosted = {(role, model) for role, model in self._hosted if model != draft}


@contextmanager
def _ending(target: Worker) -> Iterator[None]:
    """End a worker that was lost or failed meanwhile."""
    try:
        yield
    except (WorkerLost, WorkerFailed) as error:
        if not isinstance(error, OutOfMemory):
            # It may have said so itself, of a thread beside it that hangs; or its state is anybody's guess.
            target.close()
        raise


def _role(model: str) -> str:
    return TARGET if model == TARGET else f"draft '{model}',"


def predictor_path(folder: Path, draft: str) -> Path:
    """Where H-RAD's network for a draft lies in a folder of networks."""
    return folder / f"{draft}.safetensors"


def find_predictors(folder: Path, drafts: Collection[str]) -> dict[str, Path]:
    """H-RAD's networks in a folder, for those drafts that have one."""
    return {name: path for name in drafts if (path := predictor_path(folder, name)).is_file()}


@contextmanager
def open_pair(
    target: ModelSpec, drafts: Mapping[str, ModelSpec], predictors: Mapping[str, Path] | None = None
) -> Iterator[tuple[Pair, Tokenizer]]:
    """A pair on this machine and the target's tokenizer. ConfigurationError where the vocabularies differ."""
    prepare()
    tokenizer = Tokenizer(target)
    for name, spec in drafts.items():
        _ = spec.codes_file  # made here if it has to be, and not by several workers at once
        if spec.source != target.source:
            tokenizer.check_same_vocabulary(Tokenizer(spec), name)
    with Pair(
        target, drafts, predictors or {}, cuda_devices=cuda_devices(), vocabulary=tokenizer.size
    ) as pair:
        yield pair, tokenizer
