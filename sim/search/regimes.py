"""What a map of regimes holds: cells of methods at their best, views of cells, and the calibration's own pair."""

from typing import Literal

from pydantic import Field

from engine.configuration import Configuration
from engine.errors import ConfigurationError
from engine.frozen_record import FrozenRecord
from engine.metrics import Estimate
from engine.runtime.placement import Placement

VERSION: Literal[2] = 2

Where = Literal["best", "at-once", "in-turn", "threads"]
Part = Literal["overheads", "contention", "rollback"]
PARTS: tuple[Part, ...] = ("overheads", "contention", "rollback")


class Entry(FrozenRecord):
    """A method at its best setting in a cell: `speed_up` over the cell's best autoregressive set-up.

    `rollback`: tokens dropped from the followed line, for each token of text.
    """

    configuration: Configuration
    speed_up: Estimate
    rollback: float

    @property
    def policy(self) -> str:
        """The method's name."""
        return self.configuration.policy


class Cell(FrozenRecord):
    """A place of the map: every method at its best, fastest first.

    `lead`: the winner's tokens/s over the runner-up's. `tied`: the policies that are not told from the winner, itself
    first. `over`: SpecBranch's tokens/s over those of PEARL and of standard speculative decoding, by policy.
    `without`: how many times as fast SpecBranch would be at the same setting, were there no overheads, no contention,
    or no wrong draft token (and so no rollback), each alone.
    """

    ratio: float
    alignment: float
    entries: tuple[Entry, ...] = Field(min_length=1)
    lead: Estimate
    tied: tuple[str, ...]
    over: dict[str, Estimate] = Field(default_factory=dict)
    without: dict[Part, float] = Field(default_factory=dict)

    @property
    def winner(self) -> Entry:
        """The fastest."""
        return self.entries[0]

    @property
    def runner_up(self) -> Entry | None:
        """The second; none where there is one method alone."""
        return self.entries[1] if len(self.entries) > 1 else None

    @property
    def is_tie(self) -> bool:
        """Whether the winner is not told from another method."""
        return len(self.tied) > 1

    def entry(self, policy: str) -> Entry | None:
        """A method's entry, if it has one here."""
        return next((e for e in self.entries if e.policy == policy), None)


class View(FrozenRecord):
    """A map for one choice. `placement`: where every method runs, the baseline included; "best": each where it is
    fastest. `helpers`: with repetitions, n-grams, second choices, prompt lookup and redrafting."""

    placement: Where
    temperature: float
    helpers: bool
    cells: tuple[Cell, ...]

    @property
    def key(self) -> tuple[Where, float, bool]:
        """What tells it from other views."""
        return self.placement, self.temperature, self.helpers


class Own(FrozenRecord):
    """The calibration's own pair with one of its drafts, as it was measured: nothing is shifted or scaled."""

    draft: str
    temperature: float
    views: tuple[View, ...]

    @property
    def ratio(self) -> float:
        """Of its steps."""
        return self.views[0].cells[0].ratio

    @property
    def alignment(self) -> float:
        """Of its draft, on the texts of its temperature."""
        return self.views[0].cells[0].alignment

    def cell(self, placement: Where, helpers: bool) -> Cell:
        """Its cell in a view."""
        return next(v.cells[0] for v in self.views if (v.placement, v.helpers) == (placement, helpers))


class RegimeMap(FrozenRecord):
    """All views, and the pair's own place.

    `costs`: for each ratio, the draft whose costs a cell has, and that draft's own ratio. `measured_in`: the placement
    in which steps are compared. `sources`: for each temperature and alignment, the draft that acceptance was shifted
    from, and its own alignment. `settings`: how many were tried in each cell, over all methods. `seconds`: what working
    it out took with `processes`, which computed for `processor_seconds` in all: more than that is time in which the
    machine did something else.
    """

    version: Literal[2] = VERSION
    calibration: str
    calibration_digest: str
    calibrated: str
    hardware: dict[str, str]
    target: str
    remarks: tuple[str, ...] = ()  # of the target; they go with every figure (`engine.models.deepening`)
    costs: dict[str, tuple[str, float]]
    measured_in: Placement
    ratios: tuple[float, ...]
    alignments: tuple[float, ...]
    sources: dict[str, dict[str, tuple[str, float]]]
    prompts: int
    tokens: int
    settings: int
    seed: int
    seconds: float
    processor_seconds: float
    processes: int
    views: tuple[View, ...]
    own: tuple[Own, ...]

    def view(self, placement: Where, temperature: float, *, helpers: bool) -> View:
        """The view of a choice. ConfigurationError if there is none."""
        key = placement, temperature, helpers
        found = next((v for v in self.views if v.key == key), None)
        if found is None:
            raise ConfigurationError(f"the map has no view of {key}.")
        return found

    @property
    def placements(self) -> tuple[Where, ...]:
        """Those with a view of their own, the best of all first."""
        return tuple(dict.fromkeys(v.placement for v in self.views))

    @property
    def temperatures(self) -> tuple[float, ...]:
        """Those of the texts."""
        return tuple(dict.fromkeys(v.temperature for v in self.views))
