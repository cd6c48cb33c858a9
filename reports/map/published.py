"""The published pairs and averages, and where they lie on a map of regimes: estimates, with what they rest on.

Neither the ratio of the models' steps nor the alignment of a published pair is known here. So

- the ratio lies between that of the models' layers and that of their parameters. A step that waits for memory takes as
  long as its weights; one that waits for kernels to start takes as long as it has layers. Both are counted in the
  models' public configurations; the middle is their geometric mean.
- the alignment is the one at which the map gives PEARL its published average, for each ratio.
- SpecBranch's published average is then what is compared with the map's at the same places.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sim.search.regimes import Cell, RegimeMap, View

SOURCE = "arXiv 2506.01979, averages over HumanEval, GSM8K and CNN/DM"


@dataclass(frozen=True)
class Pair:
    """A published pair; parameters in billions. `pearl` and `specbranch`: speed-ups over autoregressive decoding."""

    letter: str
    name: str
    alignment: str
    target_parameters: float
    draft_parameters: float
    target_layers: int
    draft_layers: int
    pearl: float
    specbranch: float

    @property
    def ratios(self) -> tuple[float, float, float]:
        """Of the steps: by layers, in the middle, by parameters; ascending."""
        ends = sorted(
            (self.target_layers / self.draft_layers, self.target_parameters / self.draft_parameters)
        )
        return ends[0], math.sqrt(ends[0] * ends[1]), ends[1]

    @property
    def gain(self) -> float:
        """SpecBranch over PEARL."""
        return self.specbranch / self.pearl


# Layers and shapes as copies of the models' configurations and logs in public repositories have them. LLaMA 7B and 13B:
# github.com/scottlogic-alex/llm-memory-calculator, llama-sizes.md (Vicuna 13B is a tuned LLaMA 13B). DeepSeek-Coder
# 33B: the log in github.com/arcee-ai/mergekit/issues/143, 62 blocks. Llama 3.1: the tables of
# github.com/vulkomilev/oumi, configs/recipes/llama3_1/README.md. LLaMA 68M (Vicuna 68M is a tuned copy) and
# DeepSeek-Coder 1.3B: modules as others printed them. Parameters follow from the shapes, which a test has.
PAIRS = (
    Pair("A", "LLaMA 68M and 7B", "poorly aligned", 6.74, 0.068, 32, 2, 1.74, 2.01),
    Pair("B", "Vicuna 68M and 13B", "poorly aligned", 13.0, 0.068, 40, 2, 1.77, 2.10),
    Pair("C", "DeepSeek-Coder 1.3B and 33B", "well aligned", 33.3, 1.35, 62, 24, 2.93, 3.23),
    Pair("D", "LLaMA-3.1 8B and 70B", "well aligned", 70.6, 8.03, 80, 32, 3.38, 3.69),
)
STEPS = 9  # places along a pair's range of ratios


@dataclass(frozen=True)
class Placed:
    """A place where a pair may lie: the alignment is that at which the map gives PEARL its published average.

    `specbranch`: the map's speed-up there, and `gain` over PEARL.
    """

    ratio: float
    alignment: float
    specbranch: float
    gain: float


@dataclass(frozen=True)
class Regime:
    """Where a published pair may lie; no `places` where the map gives PEARL its average at no alignment."""

    pair: Pair
    places: tuple[Placed, ...]

    @property
    def middle(self) -> Placed | None:
        """The place that is nearest to the middle of the ratios."""
        wished = math.log(self.pair.ratios[1])
        return min(self.places, key=lambda p: abs(math.log(p.ratio) - wished), default=None)


def find_regimes(found: RegimeMap, view: View, pairs: Sequence[Pair] = PAIRS) -> tuple[Regime, ...]:
    """Where the pairs lie in a view, within the map's ratios."""
    return tuple(Regime(pair, tuple(_places(found, view, pair))) for pair in pairs)


def _places(found: RegimeMap, view: View, pair: Pair) -> list[Placed]:
    low, middle, high = (min(max(r, found.ratios[0]), found.ratios[-1]) for r in pair.ratios)
    made = []
    for ratio in sorted({*np.geomspace(low, high, STEPS).tolist(), middle}):
        pearl, branched = (_column(found, view, ratio, policy) for policy in ("pearl", "specbranch"))
        # Speed-ups grow with the alignment, but for chance.
        growing = np.maximum.accumulate(pearl)
        if not growing[0] <= pair.pearl <= growing[-1]:
            continue
        alignment = float(np.interp(math.log(pair.pearl), np.log(growing), found.alignments))
        mine = math.exp(float(np.interp(alignment, found.alignments, np.log(branched))))
        made.append(Placed(ratio, alignment, mine, mine / pair.pearl))
    return made


def _column(found: RegimeMap, view: View, ratio: float, policy: str) -> list[float]:
    """A method's speed-up at a ratio for each alignment of the map, between cells by logarithms."""
    column = []
    for alignment in found.alignments:
        cells = [c for c in view.cells if c.alignment == alignment]
        known = [(c.ratio, speed) for c in cells if (speed := _speed(c, policy))]
        ratios, speeds = zip(*known, strict=True)
        column.append(math.exp(float(np.interp(math.log(ratio), np.log(ratios), np.log(speeds)))))
    return column


def _speed(cell: Cell, policy: str) -> float | None:
    entry = cell.entry(policy)
    return entry.speed_up.value if entry else None
