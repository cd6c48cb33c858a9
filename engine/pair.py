"""A target and its drafts in worker processes, ready to generate under any configuration. Torch-free."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType

from engine import worker_process
from engine.configuration import Configuration
from engine.models import TARGET, ModelSpec
from engine.placement import Placement, Seating, cuda_devices, seat_models, usable_cores
from engine.record import Run
from engine.sampling import GREEDY, Sampling
from engine.session import Player, generate
from engine.tokenizer import Tokenizer
from engine.workers import Worker, start

THREADS = ("target thread", "draft thread")  # the roles of workers that share a process


@dataclass
class Pair:
    """The workers: one hosts the target and, for turns, the drafts; another hosts the drafts alone; and for two
    threads at once there are two more, in a process of their own.

    A context manager; leaving it ends the workers. `drafts` by name, the first one being the default.
    """

    target: ModelSpec
    drafts: Mapping[str, ModelSpec]
    cores: tuple[int, ...] = field(default_factory=usable_cores)
    cuda_devices: int = 0
    _workers: dict[str, Worker] = field(default_factory=dict)
    _hosted: set[tuple[str, str]] = field(default_factory=set)

    def __enter__(self) -> "Pair":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers.values():
            worker.close()

    def seating(self, placement: Placement) -> Seating:
        """Where a placement puts the models here."""
        return seat_models(placement, self.cores, self.cuda_devices)

    def _host(self, role: str, model: str) -> Player:
        worker = self._workers[role]
        if (role, model) not in self._hosted:
            spec = self.target if model == TARGET else self.drafts[model]
            worker.call(worker_process.load, name=model, spec=spec.model_dump(mode="json"))
            self._hosted.add((role, model))
        return Player(worker, model)

    def _worker(self, role: str) -> Worker:
        if role not in self._workers or self._workers[role].lost:
            roles = THREADS if role in THREADS else (role,)
            self._workers.update(zip(roles, start(*roles), strict=True))
            self._hosted = {(r, m) for r, m in self._hosted if r not in roles}
        return self._workers[role]

    def players(self, placement: Placement, draft: str | None) -> tuple[Player, Player | None]:
        """Seat the models, loading what is not loaded yet; a lost worker is started again."""
        seating = self.seating(placement)
        target, drafter = THREADS if seating.threads and draft else (TARGET, "draft")
        self._worker(target).sit(seating.target)
        if draft is None:
            return self._host(target, TARGET), None
        role = target if seating.shared else drafter
        self._worker(role).sit(seating.draft)
        return self._host(target, TARGET), self._host(role, draft)

    def generate(
        self,
        configuration: Configuration,
        prompt: Sequence[int],
        *,
        max_tokens: int,
        end_tokens: Collection[int] = (),
        on_text: Callable[[Sequence[int]], None] | None = None,
        sampling: Sampling = GREEDY,
    ) -> Run:
        """Write up to `max_tokens` tokens after `prompt` (token ids); see `engine.session.generate`."""
        players = self.players(configuration.placement, configuration.draft_among(self.drafts))
        return generate(
            configuration,
            *players,
            prompt,
            max_tokens=max_tokens,
            end_tokens=end_tokens,
            on_text=on_text,
            sampling=sampling,
        )


@contextmanager
def open_pair(target: ModelSpec, drafts: Mapping[str, ModelSpec]) -> Iterator[tuple[Pair, Tokenizer]]:
    """A pair on this machine and the target's tokenizer. ConfigurationError where the vocabularies differ."""
    tokenizer = Tokenizer(target)
    for name, spec in drafts.items():
        if spec.source != target.source:
            tokenizer.check_same_vocabulary(Tokenizer(spec), name)
    with Pair(target, drafts, cuda_devices=cuda_devices()) as pair:
        yield pair, tokenizer
