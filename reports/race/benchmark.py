"""Many requests at once by our engine and by those that a user would pick, in one interleaved run. Torch-free.

Each load is served by all in turn, the next round with other prompts, so that a slow minute of the machine is
everybody's. All write equally many tokens behind the same prompts, greedily and beyond ends of texts, and the time is
taken in the process that computes, from the first prompt's reading on.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

from pydantic import ValidationError

from calibrate.artifact import write_whole
from engine.errors import SpecBranchError
from engine.frozen_record import FrozenRecord
from engine.metrics import Estimate, ratio_of_sums
from reports.race.contestants import Contestant
from reports.race.process import Answer

AIM = 1.25  # times the better rival
BYTES = 2  # of a weight: all engines are given 16 bits
WARM_TOKENS = 4  # of the texts that are written before a draft length is timed
REST_SECONDS = 0.3  # before a load is served: threads of who served before look for work that long
VERSION = 1

Show = Callable[[str, int, int], None]
"""Hears a stage, what is done of it, and its total."""


Tried = tuple[str, int, int, float]
"""An engine's title, users, tokens drafted and tokens/s."""


class Speeds(FrozenRecord):
    """An engine at one load: `users` requests at once, so many `draft_tokens` drafted a round, 0 for none.

    `seconds` of each round, in which it wrote `tokens` in all. `accepted_length`: tokens per target forward, where that
    is known. `alike`: the share of its tokens up to the first that is not that of our first contestant's text.
    """

    engine: str
    version: str
    users: int
    draft_tokens: int
    tokens: int
    seconds: tuple[float, ...]
    accepted_length: float | None = None
    alike: float = 1.0
    ours: bool = False

    @property
    def tokens_per_second(self) -> float:
        """Over all rounds."""
        return self.tokens * len(self.seconds) / sum(self.seconds)

    @property
    def spread(self) -> tuple[float, float]:
        """Tokens/s of the slowest round and of the fastest."""
        return self.tokens / max(self.seconds), self.tokens / min(self.seconds)


class Part(FrozenRecord):
    """A pair's race: `speeds` by load, what is `missing` and why, and what it took to choose draft lengths.

    `created`: the day, as ISO 8601 has it (none up to version 0.10.0). `tried`: tokens/s of each engine, users and
    tokens drafted, once. `bandwidths`: bytes read a second before the race and behind it; `products`: pairs of numbers
    multiplied a second, if our compiled loops run here.
    """

    title: str
    command: str
    speeds: tuple[Speeds, ...]
    tried: tuple[Tried, ...]
    missing: tuple[str, ...]
    bandwidths: tuple[float, float]
    products: float | None
    target_parameters: int
    draft_parameters: int
    remarks: tuple[str, ...] = ()
    created: str | None = None

    def limits(self, speeds: Speeds) -> tuple[float, float | None] | None:
        """Tokens/s if a round took only the reading of its weights, once a step, and if only its products.

        None where it is not known how many tokens a round writes, or how fast is multiplied.
        """
        drafted = speeds.draft_tokens
        if drafted and speeds.accepted_length is None:
            return None
        written = speeds.users * (speeds.accepted_length or 1.0)
        read = BYTES * (self.target_parameters + drafted * self.draft_parameters)
        products = speeds.users * ((drafted + 1) * self.target_parameters + drafted * self.draft_parameters)
        by_memory = written * sum(self.bandwidths) / len(self.bandwidths) / read
        return by_memory, None if self.products is None else written * self.products / products

    def against(self, ours: Speeds) -> tuple[str, Estimate] | None:
        """The better rival at a load, and how many times as fast ours is, by rounds; None without rivals."""
        rivals = [speeds for speeds in self.speeds if speeds.users == ours.users and not speeds.ours]
        if not rivals:
            return None
        better = max(rivals, key=lambda speeds: speeds.tokens_per_second)
        return better.engine, self.ratio(ours, better)

    def ratio(self, ours: Speeds, theirs: Speeds) -> Estimate:
        """How many times as fast ours is, by rounds."""
        return ratio_of_sums(theirs.seconds, ours.seconds)


class LoadBenchmark(FrozenRecord):
    """What `bench-load` writes: its parts by pair, each of which a later run replaces alone."""

    version: int = VERSION
    hardware: dict[str, str]
    max_tokens: int
    parts: dict[str, Part]


@dataclass(frozen=True)
class Plan:
    """Which loads are served, for how many rounds, how long texts are, and which draft lengths are tried (none: 0)."""

    users: tuple[int, ...] = (1, 4, 16)
    tokens: int = 64
    rounds: int = 8
    lengths: tuple[int, ...] = (0,)


@dataclass
class Race:
    """One race of `contestants`, ours first; those that fail drop out, and `missing` says why."""

    contestants: Sequence[Contestant]
    prompts: Sequence[Sequence[int]]
    plan: Plan
    show: Show
    rest: float = REST_SECONDS
    missing: list[str] = field(default_factory=list)
    tried: list[Tried] = field(default_factory=list)
    _racing: list[Contestant] = field(default_factory=list)
    _best: dict[tuple[str, int], int] = field(default_factory=dict)
    _answers: dict[tuple[str, int], list[Answer]] = field(default_factory=dict)

    def run(self) -> list[Speeds]:
        """Each contestant's speeds at each load, with the draft length that was fastest there before the race.

        SpecBranchError if ours fails.
        """
        self._racing = list(self.contestants)
        for contestant in self.contestants:
            self._choose(contestant)
        plan = self.plan
        total = plan.rounds * len(plan.users)
        for number in range(plan.rounds):
            for place, users in enumerate(plan.users):
                self.show("racing", number * len(plan.users) + place, total)
                turn = (number + place) % len(self._racing)
                for contestant in (*self._racing[turn:], *self._racing[:turn]):
                    length = self._best[contestant.title, users]
                    answer = self._serve(contestant, users, number + 1, length)
                    if answer:
                        self._answers.setdefault((contestant.title, users), []).append(answer)
        self.show("racing", total, total)
        return [self._speeds(contestant, users) for users in plan.users for contestant in self._racing]

    def _choose(self, contestant: Contestant) -> None:
        """Serve each load once with each draft length, behind some tokens that warm it up.

        A length that a rival fails to draft is none of its own; one that fails at all of them drops out.
        """
        plan, total = self.plan, len(self.contestants) * len(self.plan.users) * len(self.plan.lengths)
        seconds: dict[int, dict[int, float]] = {}
        for length in plan.lengths:
            took: dict[int, float] = {}
            try:
                for users in plan.users:
                    self.show("trying draft lengths", len(self.tried) + len(took), total)
                    took[users] = self._try(contestant, users, length)
            except SpecBranchError as error:
                self._note(contestant, error, f" It was to draft {length} tokens." if length else "")
                contestant.keep(seconds)
                continue
            seconds[length] = took
            self.tried += [
                (contestant.title, users, length, users * plan.tokens / took[users]) for users in plan.users
            ]
        if not seconds:
            self._racing.remove(contestant)
            return
        for users in plan.users:
            self._best[contestant.title, users] = min(seconds, key=lambda length: seconds[length][users])
        contestant.keep({self._best[contestant.title, users] for users in plan.users})

    def _try(self, contestant: Contestant, users: int, length: int) -> float:
        """Seconds of a load; what is compiled, laid out or filled for it first has been by then."""
        for tokens in (WARM_TOKENS, self.plan.tokens):
            answer = self._ask(contestant, users, 0, length, tokens)
        return answer.seconds

    def _serve(self, contestant: Contestant, users: int, number: int, length: int) -> Answer | None:
        """None if it failed, and is no contestant any more."""
        try:
            return self._ask(contestant, users, number, length, self.plan.tokens)
        except SpecBranchError as error:
            self._note(contestant, error)
            self._racing.remove(contestant)
            contestant.keep(())
            return None

    def _ask(self, contestant: Contestant, users: int, number: int, length: int, tokens: int) -> Answer:
        time.sleep(self.rest)
        return contestant.serve(asked(self.prompts, users, number), tokens, length)

    def _note(self, contestant: Contestant, error: SpecBranchError, more: str = "") -> None:
        """That a rival failed. SpecBranchError if ours did."""
        if contestant.ours:
            raise error
        self.missing.append(f"{error}{more}")

    def _speeds(self, contestant: Contestant, users: int) -> Speeds:
        answers, first = (
            self._answers[title, users] for title in (contestant.title, self.contestants[0].title)
        )
        return Speeds(
            engine=contestant.title,
            version=contestant.version,
            users=users,
            draft_tokens=self._best[contestant.title, users],
            tokens=users * self.plan.tokens,
            seconds=tuple(answer.seconds for answer in answers),
            accepted_length=answers[-1].accepted_length,
            alike=mean(share_alike(a.texts, b.texts) for a, b in zip(answers, first, strict=True)),
            ours=contestant.ours,
        )


def asked(prompts: Sequence[Sequence[int]], users: int, number: int) -> list[Sequence[int]]:
    """The prompts of a round: those behind the last round's, and from the first on again."""
    first = number * users
    return [prompts[(first + place) % len(prompts)] for place in range(users)]


def share_alike(texts: Sequence[Sequence[int]], others: Sequence[Sequence[int]]) -> float:
    """The share of tokens that come before the first one that is not the other text's."""
    same = 0
    for text, other in zip(texts, others, strict=True):
        differs = (place for place, (a, b) in enumerate(zip(text, other, strict=True)) if a != b)
        same += next(differs, len(text))
    return same / sum(map(len, texts))


def load_record(path: Path) -> LoadBenchmark | None:
    """A record that was written before; None if there is none. SpecBranchError if it cannot be read."""
    if not path.is_file():
        return None
    try:
        return LoadBenchmark.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise SpecBranchError(f"{path} is no record of 'bench-load'; name another file by --out.") from error


def save_record(path: Path, record: LoadBenchmark) -> None:
    """Write a record as JSON."""
    write_whole(path, record.model_dump_json(indent=1).encode())
