"""Which calibration a command replays when none, or one, is named."""

from pathlib import Path

from calibrate.artifact import JSON_NAME, Artifact, load_artifact
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
        if (folder / JSON_NAME).is_file():
            return folder
    raise CalibrationError(
        f"there is no calibration to replay: run 'specbranch calibrate', which writes {OWN}, or name a folder "
        "with --calibration."
    )


def open_calibration(flag: Path | None = None, key: Path | None = None) -> Artifact:
    """The calibration that `find_calibration` finds. CalibrationError if it is missing or damaged."""
    return load_artifact(find_calibration(flag, key))
