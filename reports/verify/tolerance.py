"""How far a prediction may be off, and how noisy a run may be: fixed before a verification begins."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from calibrate.file_kinds import TOLERANCE, reading
from engine.errors import ConfigurationError
from engine.runtime.waiting import DISTURBING
from scenarios.files import YamlFile


class Tolerance(BaseModel):
    """The rule by which a verification passes, over all configurations that are run.

    Errors are those of the predicted tokens/s, as absolute shares of the measured. A figure whose 95% interval
    holds its bound decides nothing, nor does a run on a machine less steady than `unsteadiness`, or whose cores
    something else had for more than `waiting` of the time.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    median_error: float = Field(default=0.05, gt=0, description="half of the configurations lie within")
    tail_error: float = Field(default=0.10, gt=0, description="nine in ten of the configurations lie within")
    tau: float = Field(
        default=0.85,
        ge=-1,
        le=1,
        description="least rank correlation (Kendall's tau) with the measured order",
    )
    regret: float = Field(
        default=0.03,
        ge=0,
        lt=1,
        description="how much slower the chosen one may be than the fastest measured",
    )
    mismatches: int = Field(default=0, ge=0, description="tokens that are not the target's own, beyond ties")
    unsteadiness: float = Field(
        default=1.3,
        ge=1,
        description="90th over 10th percentile of the reference operation's seconds before each generation",
    )
    waiting: float = Field(
        default=DISTURBING,
        ge=0,
        description="share of the runs' time for which threads waited for a core that something else had",
    )


def read_tolerance(given: str | None) -> Tolerance:
    """A tolerance from what was typed: nothing, a share within which nine in ten must lie, or a YAML file.

    A share also sets the median's bound, to half of itself. ConfigurationError for anything else.
    """
    if given is None:
        return Tolerance()
    try:
        share = float(given)
    except ValueError:
        with reading(Path(given), TOLERANCE):
            file = YamlFile.read(Path(given), "a tolerance")
            return file.validate(Tolerance, file.data)
    if not 0.0 < share < 1.0:
        raise ConfigurationError(f"--tolerance {given}: a share lies between 0 and 1, such as 0.10.")
    return Tolerance(median_error=share / 2.0, tail_error=share)
