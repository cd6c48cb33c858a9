"""What `bench` writes down and what follows from it: the schema of a benchmark, its figures and aims. Torch-free."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from calibrate.artifact import write_whole
from calibrate.file_kinds import BENCHMARK, other_kind
from engine.errors import SpecBranchError
from engine.frozen_record import FrozenRecord
from engine.metrics import Estimate, Metrics, measure, speed, speed_up
from engine.record import Run
from reports.bench.contestants import AUTOREGRESSIVE, GENERATE, Contestant, Mode

VERSION = 1


class Text(FrozenRecord):
    """One generation: the prompt's place among its prompts, the place in the order, tokens and seconds.

    `run`: rounds and jobs of ours, whose tokens and seconds are the same. `resumed`: taken from an interrupted
    benchmark.
    """

    prompt: int
    repeat: int
    order: int
    tokens: tuple[int, ...]
    seconds: float
    run: Run | None = None
    resumed: bool = False


class Trial(FrozenRecord):
    """A generation that only served to choose a setting; `row` names what for."""

    row: str
    mode: Mode
    stage: str
    contestant: Contestant
    text: Text


class Audit(FrozenRecord):
    """Emitted tokens by how they compare with the target's favourite in one pass over the text."""

    favourites: int
    near_ties: int  # within the stated numeric tie of it
    mismatches: int


class Row(FrozenRecord):
    """A contestant at the setting that was chosen for it, and what it wrote; `budgets` by number."""

    name: str
    mode: Mode
    budgets: tuple[int, ...]
    contestant: Contestant
    chosen_among: int
    texts: tuple[Text, ...]
    audit: Audit | None = None  # greedy texts only


class CacheUse(FrozenRecord):
    """Slots of a draft's cache that one draft job used, counted in the cache itself, and bytes of keys and values.

    `length` steps of `branches` branches behind `context` tokens.
    """

    context: int
    branches: int
    length: int
    slots: int
    slot_bytes: int
    allocated_bytes: int

    @property
    def beyond_context(self) -> int:
        """Bytes used beyond those of the context."""
        return (self.slots - self.context) * self.slot_bytes

    @property
    def copied_beyond_context(self) -> int:
        """Computed, not measured: the same if each branch had a cache of its own, with a copy of the context.

        The last token of a branch is written but not read, so it has no slot, here and there.
        """
        return (self.branches * (self.context + self.length - 1) - self.context) * self.slot_bytes


class Asked(FrozenRecord):
    """A prompt; `tokens` long as the target reads it."""

    id: str
    kind: str
    digest: str
    tokens: int


class Benchmark(FrozenRecord):
    """A whole benchmark with its conditions. `tokens` and `prompts` by mode; `selection` were the prompts of the
    trials. `reference_seconds`: a fixed operation timed throughout, all cores."""

    version: int = VERSION
    created: str
    command: str
    seconds: float
    hardware: dict[str, str]
    software: dict[str, str]
    models: dict[str, str]
    precision: str
    cores: tuple[int, ...]
    effort: str
    seed: int
    temperature: float
    budgets: dict[int, str]
    tokens: dict[Mode, int]
    prompts: dict[Mode, tuple[Asked, ...]]
    repeats: int
    selection: tuple[Asked, ...]
    trial_tokens: int
    tie: float
    reference_seconds: tuple[float, ...]
    resumed: int  # runs taken from an interrupted benchmark
    notes: tuple[str, ...]
    remarks: tuple[str, ...] = ()  # of the target; they go with every figure (`engine.models.deepening`)
    trials: tuple[Trial, ...]
    rows: tuple[Row, ...]
    memory: tuple[CacheUse, ...]


@dataclass(frozen=True)
class Figures:
    """What a row's texts say; tokens/s, and the speed-up over the budget's best autoregressive set-up of ours."""

    row: Row
    speed: Estimate
    speed_up: Estimate
    metrics: Metrics | None  # of ours


@dataclass(frozen=True)
class Aim:
    """Something that was to be reached: at least `needed` times as fast; `reached` says what was, paired by prompt."""

    text: str
    budget: int
    mode: Mode
    needed: float
    who: str
    over: str
    reached: Estimate

    @property
    def met(self) -> bool:
        """Whether the measured ratio is at least the needed one."""
        return self.reached.value >= self.needed


def rows_of(benchmark: Benchmark, budget: int, mode: Mode) -> list[Row]:
    """The rows of one table."""
    return [row for row in benchmark.rows if row.mode == mode and budget in row.budgets]


def row_speed(row: Row) -> Estimate:
    """Tokens/s and its 95% interval over prompts."""
    return speed(row.texts, [text.prompt for text in row.texts])


def faster(row: Row, than: Row) -> Estimate:
    """How many times as fast a row is, paired by prompt, with its 95% interval over prompts."""
    return speed_up(row.texts, than.texts, [text.prompt for text in row.texts])


def fastest(rows: Sequence[Row]) -> Row:
    """The row with the highest tokens/s; `rows` holds one or more."""
    return max(rows, key=lambda row: row_speed(row).value)


def baseline(rows: Sequence[Row]) -> Row:
    """Our best autoregressive set-up of a table."""
    return fastest([row for row in rows if row.name == AUTOREGRESSIVE])


def figures(benchmark: Benchmark, budget: int, mode: Mode) -> list[Figures]:
    """A table, fastest first."""
    rows = rows_of(benchmark, budget, mode)
    if not rows:
        return []
    base = baseline(rows)
    found = [
        Figures(
            row,
            row_speed(row),
            faster(row, base),
            measure([text.run for text in row.texts if text.run]) if row.contestant.ours else None,
        )
        for row in rows
    ]
    return sorted(found, key=lambda figure: -figure.speed.value)


AUTOREGRESSIVE_AIM, PARALLEL_AIM, DISTILLED_AIM, BEST_AIM, PEER_AIM = 1.1, 1.5, 1.15, 1.3, 1.0


def aims(benchmark: Benchmark) -> list[Aim]:
    """The stated aims with what was reached; those that this benchmark has rows for."""
    found: list[Aim] = []
    modes = list(benchmark.prompts)

    def note(text: str, budget: int, needed: float, mine: list[Row], theirs: list[Row]) -> None:
        if mine and theirs:
            a, b = fastest(mine), fastest(theirs)
            found.append(
                Aim(text, budget, a.mode, needed, a.contestant.label(), b.contestant.label(), faster(a, b))
            )

    for mode in modes:
        one, both = rows_of(benchmark, 1, mode), rows_of(benchmark, 2, mode)
        for budget, rows in ((1, one), (2, both)):
            for cores in dict.fromkeys(r.contestant.cores for r in rows if r.name == AUTOREGRESSIVE):
                same = [r for r in rows if r.contestant.cores == cores]
                if budget == 2 and any(r.name == AUTOREGRESSIVE and 1 in r.budgets for r in same):
                    continue  # said of the first budget already
                note(
                    "our autoregressive decoding over transformers' generate, same threads",
                    budget,
                    AUTOREGRESSIVE_AIM,
                    [r for r in same if r.name == AUTOREGRESSIVE],
                    [r for r in same if r.name == GENERATE],
                )
        for draft in dict.fromkeys(r.contestant.draft for r in one if _parallel(r)):
            note(
                f"the best parallel policy with the {draft} draft over our autoregressive decoding",
                1,
                DISTILLED_AIM if draft == "distilled" else PARALLEL_AIM,
                [r for r in one if _parallel(r) and r.contestant.draft == draft],
                [r for r in one if r.name == AUTOREGRESSIVE],
            )
        note(
            "our best of any policy and placement over our best autoregressive set-up",
            2,
            BEST_AIM,
            [r for r in both if r.contestant.ours and r.name != AUTOREGRESSIVE],
            [r for r in both if r.name == AUTOREGRESSIVE],
        )
        for budget, rows in ((1, one), (2, both)):
            note(
                "our best over transformers' best",
                budget,
                PEER_AIM,
                [r for r in rows if r.contestant.ours],
                [r for r in rows if not r.contestant.ours],
            )
    return found


def _parallel(row: Row) -> bool:
    method = row.contestant.method
    return row.contestant.ours and row.contestant.draft is not None and method.placement != "in-turn"  # type: ignore[union-attr]


def save_benchmark(path: Path, benchmark: Benchmark) -> None:
    """Write the record as one JSON file."""
    write_whole(path, benchmark.model_dump_json().encode())


def load_benchmark(path: Path) -> Benchmark:
    """Read a record. SpecBranchError if there is none or it is damaged."""
    try:
        return Benchmark.model_validate_json(path.read_bytes())
    except OSError as error:
        raise SpecBranchError(
            other_kind(path, BENCHMARK)
            or f"{path} cannot be read ({error.strerror}); run 'specbranch bench' first."
        ) from error
    except ValidationError as error:
        raise SpecBranchError(
            other_kind(path, BENCHMARK)
            or f"{path} is damaged or of another version; run 'specbranch bench' again."
        ) from error
