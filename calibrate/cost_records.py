"""What operations cost where the models sit: the schema of `costs.json`. Torch-free.

A cell is a forward, or another operation, at a place of three coordinates: the rows that it reads, the sequences that
they belong to, and the tokens of the cache that these sequences hold before them. Cells of one sequence are what a
single stream needs; those of several say what a batch costs (`calibrate.costs.forward_fit`).
"""

from typing import NamedTuple

from pydantic import Field

from calibrate.records import Measurement, Record
from calibrate.versions import History, unchanged
from engine.configuration import Configuration
from engine.errors import CalibrationError
from engine.models.specs import TARGET
from engine.record import Run
from engine.runtime.placement import Placement

# A folder of before is brought up to version 1 by `calibrate.one_file`; 2 added both models over several sequences at
# once (`DraftCosts.batched_together`), 3 prompts beside other rows (`chunked`) and the rows that are not scored.
_BEFORE = dict.fromkeys((1, 2), unchanged)
VERSIONS = History(present=3, migrations=_BEFORE, too_old="there was none before the first")
PAUSE = 0.04  # seconds before a burst; about as long as a draft may wait for its target
# What `PlacementCosts` holds of the target, and `DraftCosts` of a draft.
TARGET_CELLS = ("target", "batched", "chunked", "draw", "foresight")
DRAFT_CELLS = ("forward", "batched", "chunked", "branch", "burst", "fork", "draw")
# A longer read is a prompt's, of which only the last row is judged; a shorter one is a line's, judged throughout.
LONGEST_LINE = 32


class Key(NamedTuple):
    """An operation and its place as it is timed: tokens and context are those of each of the sequences.

    But "chunked" reads so many tokens of one sequence, and one of each of the others.
    """

    operation: str
    tokens: int
    context: int
    sequences: int = 1

    @property
    def rows(self) -> int:
        """Of all sequences."""
        return sum(self.counts)

    @property
    def counts(self) -> tuple[int, ...]:
        """Rows of each sequence."""
        others = 1 if self.operation == "chunked" else self.tokens
        return (self.tokens, *[others] * (self.sequences - 1))

    @property
    def unscored(self) -> int:
        """Rows whose logits nobody wants: all but the last of each prompt."""
        prompts = self.operation in ("chunked", "prompts") or (
            self.operation == "forward" and self.tokens > LONGEST_LINE
        )
        return self.rows - self.sequences if prompts else 0


# A model's step, and the shortest prompt that is timed. They tell how a machine drifts (`calibrate.costs.drift`), so
# they must be known better than others.
STEP = Key("forward", 1, 0)
PROMPT = Key("forward", LONGEST_LINE + 1, 0)


class Cell(Record):
    """Samples (seconds, in the order measured) of one operation at a place of three coordinates.

    `rows`: tokens that it reads in all; `sequences`: texts that they belong to; `cache_tokens`: what the cache holds
    of all of these texts before them. `unscored`: rows whose logits nobody wants, where that was noted. `visits`: how
    many samples were taken at each visit; what is common to a visit is not independent. `excluded`: samples of visits
    at which the machine was disturbed, by the rule of `calibrate.costs.sampling_plan`.
    """

    rows: int = Field(ge=0)
    sequences: int = Field(default=1, ge=1)
    cache_tokens: int = Field(ge=0)
    unscored: int = Field(default=0, ge=0)
    seconds: tuple[float, ...] = Field(min_length=1)
    visits: tuple[int, ...] = ()
    excluded: tuple[float, ...] = ()


class Together(Record):
    """A target forward over `target_tokens` and a draft's step of `branches`, behind `context` tokens each.

    Of several `sequences`, both counts are those of all of them, and the context is that of each.

    Seconds of each alone and of each at once. With `steps`, both were timed in rounds as a generation has them: the
    target makes a forward and the draft so many steps, of which its seconds are the mean, both begin together, and who
    is done first waits. Without, as in calibrations made before there were rounds, neither ever paused. What they tell
    is worked out by `calibrate.costs.slow_downs`.
    """

    target_tokens: int
    branches: int
    context: int
    sequences: int = Field(default=1, ge=1)
    target_alone: tuple[float, ...]
    target_together: tuple[float, ...]
    draft_alone: tuple[float, ...]
    draft_together: tuple[float, ...]
    steps: int = Field(default=0, ge=0)


class DraftCosts(Record):
    """What a draft costs in one placement.

    `forward`: reading tokens in a row and choosing candidates; `batched` and `chunked`: the same of several sequences,
    as the target's; `branch`: a step of as many branches as rows, one token each; `burst`: as many steps of one branch
    in a row behind PAUSE, where the draft has a device of its own; `fork`: selecting one of as many branches in a
    rewind; `draw`: what drawing as many tokens at a temperature takes beyond choosing them. `together`: against the
    target, where they run at once, and `batched_together` the same of several sequences.
    """

    forward: tuple[Cell, ...]
    batched: tuple[Cell, ...] = ()
    chunked: tuple[Cell, ...] = ()
    branch: tuple[Cell, ...]
    burst: tuple[Cell, ...] = ()
    fork: tuple[Cell, ...]
    draw: tuple[Cell, ...] = ()
    together: tuple[Together, ...] = ()
    batched_together: tuple[Together, ...] = ()


class PlacementCosts(Record):
    """Costs where the models sit as `placement` says.

    `target`: reading tokens in a row and choosing a token behind each; `batched`: the same of several sequences;
    `chunked`: reading prompts, or a part of one beside a row of each of the other sequences; `draw`: what drawing as
    many tokens at a temperature takes beyond choosing them; `foresight`: H-RAD's inference, once. `hand_over`: a job's
    seconds beyond its forwards.
    """

    placement: Placement
    target_seat: str
    draft_seat: str
    target: tuple[Cell, ...]
    batched: tuple[Cell, ...] = ()
    chunked: tuple[Cell, ...] = ()
    draw: tuple[Cell, ...] = ()
    foresight: tuple[Cell, ...] = ()
    drafts: dict[str, DraftCosts]
    hand_over: tuple[float, ...] = Field(min_length=1)


def step_of(costs: PlacementCosts, model: str) -> Cell:
    """The cell that tells a model's pace. CalibrationError if it was not measured."""
    found = _forward_at(costs, model, STEP)
    if found is None:
        raise CalibrationError(
            f"the calibration did not measure a step of '{model}' in placement '{costs.placement}'."
        )
    return found


def prompt_of(costs: PlacementCosts, model: str) -> Cell | None:
    """The cell that, beside a step, tells the pace of forwards of many rows; None if it was not measured."""
    return _forward_at(costs, model, PROMPT)


def _forward_at(costs: PlacementCosts, model: str, key: Key) -> Cell | None:
    known = costs.target if model == TARGET else costs.drafts[model].forward if model in costs.drafts else ()
    return next((cell for cell in known if (cell.rows, cell.cache_tokens) == (key.tokens, key.context)), None)


class Rehearsal(Record):
    """A real generation on the prompt of this index, greedy, to hold the costs against."""

    configuration: Configuration
    prompt: int
    run: Run


class MeasuredCosts(Measurement):
    """The costs of a calibration.

    `reference_seconds` of a fixed operation by placement, in the order timed: how steady the machine was. `rehearsals`
    are on the prompts of the traces that were recorded with these costs. `notes` say what was excluded.
    """

    version: int = VERSIONS.present
    placements: tuple[PlacementCosts, ...]
    reference_seconds: dict[str, tuple[float, ...]]
    rehearsals: tuple[Rehearsal, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def has_batches(self) -> bool:
        """Whether forwards of several sequences were timed, of all models in every placement."""
        return all(p.batched and all(d.batched for d in p.drafts.values()) for p in self.placements)

    @property
    def longest_context(self) -> int:
        """The longest context behind which a target's forward was timed in every placement."""
        return min((max(c.cache_tokens for c in p.target) for p in self.placements if p.target), default=0)

    def at(self, placement: Placement) -> PlacementCosts:
        """The costs of a placement. CalibrationError if it was not measured."""
        for costs in self.placements:
            if costs.placement == placement:
                return costs
        raise CalibrationError(f"the calibration has no placement '{placement}'.")
