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


class Journal:
    """Finished steps of one calibration under `folder`; `conditions` is any JSON that must be equal to resume."""

    def __init__(self, folder: Path, conditions: Any) -> None:
        text = json.dumps(conditions, sort_keys=True)
        self.folder = folder / f"partial-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        self.resumed = 0

    def step(self, key: str, measure: Callable[[], Any]) -> Any:
        """The step's JSON value: what was noted, or `measure()`, noted now."""
        path = self.folder / f"{key}.json"
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            value = json.loads(json.dumps(measure()))
            write_whole(path, json.dumps(value).encode())
            return value
        self.resumed += 1
        return value

    def clear(self) -> None:
        """Forget the steps: the calibration is whole."""
        shutil.rmtree(self.folder, ignore_errors=True)
