"""Which calibration a command replays when none, or one, is named."""

from pathlib import Path

from calibrate.artifact import Artifact, holds_calibration, load_artifact
from engine.errors import CalibrationError
from scenarios import shipped

OWN = Path("runs/calibration")
REFERENCE = shipped.REFERENCE


def find_calibration(flag: Path | None = None, key: Path | None = None) -> Path:
    """The folder named by a flag, else by a scenario's key, else this folder's own, else the one shipped.

    CalibrationError if none is named and neither of the last two is there.
    """
    for named in (flag, key):
        if named is not None:
            return named
    for folder in (OWN, REFERENCE):
        if holds_calibration(folder):
            return folder
    raise CalibrationError(
        f"there is no calibration to replay: run 'specbranch calibrate', which writes {OWN}, or name a folder "
        "with --calibration."
    )


def open_calibration(
    flag: Path | None = None, key: Path | None = None, costs_from: Path | None = None
) -> Artifact:
    """The calibration that `find_calibration` finds, with the costs of another if one is named.

    CalibrationError if one is missing or damaged, or if they do not fit.
    """
    return load_artifact(find_calibration(flag, key), costs_from)
