"""Verification (predicted against measured) and the pages that show it.

As a library it exports the following, and imports each when it is asked for; to read records and to write pages needs
no torch:

- `load_verification` reads the record that `specbranch verify` wrote, a `Verification` with a `Compared` for each
  configuration; `open_replay` reads the calibration of its own prompts.
- `judge`: whether the predictions held (`Fidelity`), by bounds that were fixed beforehand.
- `write_page`: a record as a page to open in a browser.
- `write_map`: a `sim.RegimeMap` as a page, with what was measured on it (each a `MapPoint`, from `points_of` a record).
- `save_trace`: runs for Perfetto or chrome://tracing.
"""

from typing import TYPE_CHECKING

from engine.exports import on_demand

if TYPE_CHECKING:
    from reports.chrome_trace import save_trace
    from reports.map.regime_page import write_map
    from reports.map.regime_points import MapPoint, points_of
    from reports.page.report import write_page
    from reports.verify.fidelity import Fidelity, judge
    from reports.verify.paired_runs import open_replay
    from reports.verify.verification import Compared, Verification, load_verification
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "Compared",
    "Fidelity",
    "MapPoint",
    "Verification",
    "judge",
    "load_verification",
    "open_replay",
    "points_of",
    "save_trace",
    "write_map",
    "write_page",
]
