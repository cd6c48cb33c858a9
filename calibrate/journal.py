"""What an interrupted calibration has already measured. Torch-free.

One JSON file a finished step, in a folder named after the conditions, so that a calibration resumes exactly
where it may and never mixes conditions.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from calibrate.artifact import write_whole
from engine.errors import CalibrationError


class Journal:
    """Finished steps of one calibration under `folder`; `conditions` is any JSON that must be equal to resume."""

    def __init__(self, folder: Path, conditions: Any) -> None:
        text = json.dumps(conditions, sort_keys=True)
        self.folder = folder / f"partial-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        self.resumed = 0

    def step(self, key: str, measure: Callable[[], Any]) -> Any:
        """The step's JSON value: what was noted, or `measure()`, noted now.

        CalibrationError if it cannot be noted.
        """
        path = self.folder / f"{key}.json"
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            text = json.dumps(measure())
            try:
                write_whole(path, text.encode())
            except OSError as error:
                raise CalibrationError(
                    f"{path.parent} cannot be written ({error.strerror}); the steps before are kept: make room and "
                    "run the same command again."
                ) from error
            return json.loads(text)
        self.resumed += 1
        return value

    def clear(self) -> None:
        """Forget the steps: the calibration is whole."""
        shutil.rmtree(self.folder, ignore_errors=True)
