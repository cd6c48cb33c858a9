"""Where a benchmark's contestants run: our pair, the peers' worker, and the journal of finished runs. Torch-free."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from pydantic import TypeAdapter

from calibrate.costs import operations
from calibrate.journal import Journal
from engine.configuration import Configuration
from engine.models.sampling import Sampling
from engine.models.specs import TARGET
from engine.models.tokenizer import Tokenizer
from engine.record import Run
from engine.runtime.pair import Pair
from engine.runtime.placement import seat_models
from engine.runtime.workers import Worker, start
from reports.bench import peers
from reports.bench.benchmark_record import Text
from reports.bench.contestants import Contestant, Mode, sampling_of
from reports.bench.peers import Peer


@dataclass
class Runner:
    """Runs a benchmark's contestants. Left, it ends the peers' worker and gives the pair back its `cores`."""

    pair: Pair
    tokenizer: Tokenizer
    journal: Journal
    seed: int
    advance: Callable[[str], None]
    cores: tuple[int, ...]
    notes: list[str] = field(default_factory=list)
    reference: list[float] = field(default_factory=list)
    order: int = 0
    _peers: Worker | None = None

    def __enter__(self) -> "Runner":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pair.cores = self.cores
        if self._peers:
            self._peers.close()

    def write(
        self, contestant: Contestant, mode: Mode, prompt: Sequence[int], number: int, tokens: int
    ) -> dict[str, Any]:
        """One generation as JSON: its tokens and seconds, and our run.

        Greedy texts end at the end token, and drawn ones, which differ between ours and the peers', never: so all
        contestants write as much.
        """
        sampling = sampling_of(mode, self.seed + number)
        ends = sorted(self.tokenizer.end_tokens) if sampling.greedy else []
        if isinstance(contestant.method, Peer):
            return self._peer(contestant.method, contestant.cores, prompt, tokens, ends, sampling)
        run = self._ours(contestant.method, contestant.cores, prompt, tokens, ends, sampling)
        if run.warning:
            # Fixed beforehand, as in `verify`: a text that lost its draft says nothing of the contestant.
            self.notes.append(f"{contestant.label()}, prompt {number}: run again; {run.warning}")
            run = self._ours(contestant.method, contestant.cores, prompt, tokens, ends, sampling)
        return {
            "tokens": run.tokens,
            "seconds": run.seconds,
            "run": TypeAdapter(Run).dump_python(run, mode="json"),
        }

    def _ours(
        self,
        configuration: Configuration,
        cores: tuple[int, ...],
        prompt: Sequence[int],
        tokens: int,
        ends: Sequence[int],
        sampling: Sampling,
    ) -> Run:
        self.pair.cores = cores  # the workers move between seats and keep their models
        return self.pair.generate(
            configuration, prompt, max_tokens=tokens, end_tokens=ends, sampling=sampling
        )

    def _peer(
        self,
        peer: Peer,
        cores: tuple[int, ...],
        prompt: Sequence[int],
        tokens: int,
        ends: Sequence[int],
        sampling: Sampling,
    ) -> dict[str, Any]:
        if self._peers is None:
            (self._peers,) = start("peers")
            self._peers.sit(seat_models("in-turn", self.cores, self.pair.cuda_devices).target)
            for name, spec in {TARGET: self.pair.target, **self.pair.drafts}.items():
                self._peers.call(peers.load, name=name, spec=spec.model_dump(mode="json"))
        self._peers.sit(seat_models("in-turn", cores, self.pair.cuda_devices).target)
        written: dict[str, Any] = self._peers.call(
            peers.generate,
            peer=peer.model_dump(mode="json"),
            prompt=list(prompt),
            max_tokens=tokens,
            end_tokens=ends,
            sampling=sampling.model_dump(mode="json"),
        )
        return written

    def text(
        self,
        stage: str,
        contestant: Contestant,
        mode: Mode,
        prompt: Sequence[int],
        number: int,
        tokens: int,
        repeat: int = 0,
    ) -> Text:
        """One generation, noted in the journal, from which an interrupted benchmark takes it."""
        before, order = self.journal.resumed, self.order
        self.order += 1
        written = self.journal.step(
            f"{stage}-{order:05d}", lambda: self.write(contestant, mode, prompt, number, tokens)
        )
        self.advance(contestant.label())
        resumed = self.journal.resumed > before
        return Text.model_validate(
            {**written, "prompt": number, "repeat": repeat, "order": order, "resumed": resumed}
        )

    def time_reference(self) -> None:
        """Note how long the fixed operation takes now, on all cores."""

        def measure() -> float:
            self.pair.cores = self.cores
            player, _ = self.pair.players("in-turn", None)
            seconds: float = player.worker.call(operations.time_reference)
            return seconds

        self.reference.append(self.journal.step(f"reference-{len(self.reference):05d}", measure))
