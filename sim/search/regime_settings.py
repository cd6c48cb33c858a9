"""The settings that are tried in each cell of a map of regimes: coarse grids of every method's."""

from collections.abc import Sequence

from calibrate.artifact import Artifact
from engine.configuration import Configuration
from sim.search.grid import Aids, Grid

LENGTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 40)
HELPED_LENGTHS = (1, 2, 4, 8, 16, 32)

_COARSE = Grid(draft_lengths=LENGTHS, cuts=(0.0,), redraft=(False,), aids=(Aids(),))
_BRANCHED = _COARSE.model_copy(update={"policies": ("specbranch",), "adaptive_branches": (True,)})

# The methods as they were published; `sim.search.tune` searches more values of each.
PLAIN = (
    _COARSE.model_copy(update={"policies": ("speculative", "pearl")}),
    _BRANCHED.model_copy(update={"branches": (4,), "cuts": (0.0, 0.3)}),
    _BRANCHED.model_copy(update={"branches": (8,)}),
    _BRANCHED.model_copy(update={"branches": (2,), "adaptive_branches": (False,)}),
)
# What this project adds to them.
_AIDED = _COARSE.model_copy(
    update={"draft_lengths": HELPED_LENGTHS, "aids": (Aids(guesses=2, repeats=7, second_under=0.5),)}
)
HELPED = (
    _AIDED.model_copy(update={"policies": ("prompt-lookup", "speculative", "pearl")}),
    _AIDED.model_copy(
        update={
            "policies": ("specbranch",),
            "branches": (4,),
            "adaptive_branches": (True,),
            "redraft": (False, True),
        }
    ),
)


def draws(artifact: Artifact) -> bool:
    """Whether its drafts draw their tokens."""
    return artifact.temperature > 0.0 and all(trace.drawing for trace in artifact.traces)


def settings_of(artifact: Artifact, grids: Sequence[Grid]) -> tuple[Configuration, ...]:
    """The grids' settings, in one placement, as far as the recorded candidates reach."""
    candidates = min(seen.tokens.shape[1] for trace in artifact.traces for seen in trace.drafts.values())
    drawn = (draws(artifact),)
    placed = [
        grid.model_copy(update={"draw_drafts": drawn}).configurations(("",), ("at-once",)) for grid in grids
    ]
    found = [c.model_copy(update={"draft": None}) for some in placed for c in some]
    return tuple(dict.fromkeys(c for c in found if c.branches <= candidates))
