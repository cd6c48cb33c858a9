"""Measurements of a model pair on real hardware, and the prompts that they are taken on.

As a library it exports the following, and imports each when it is asked for; to read a calibration needs no torch:

- `load_artifact` reads a calibration's folder, and `save_artifact` writes one: an `Artifact` has costs
  (`MeasuredCosts`) and acceptance traces (`RecordedTraces`, and a `Trace` for each text), of one calibration or of two.
- `calibrate` measures an open pair (`engine.open_pair`) with an `Effort`, one of `EFFORTS`.
- `builtin_prompts`, `read_prompts` and `choose_prompts`: each `Prompt` of the set that comes along, or of a file.
- `describe`: a calibration in words; `acceptance_statistics`: how often each draft is right (`AcceptanceStatistics`).

>>> from calibrate import load_artifact
>>> from scenarios import REFERENCE
>>> artifact = load_artifact(REFERENCE)
>>> sorted(artifact.recorded.drafts)
['distilled', 'int4', 'int8']
"""

from typing import TYPE_CHECKING

from engine.exports import on_demand

if TYPE_CHECKING:
    from calibrate.artifact import Artifact, load_artifact, save_artifact
    from calibrate.cost_records import MeasuredCosts
    from calibrate.prompts import Prompt, builtin_prompts, choose_prompts, read_prompts
    from calibrate.run import EFFORTS, Effort, calibrate
    from calibrate.summary import describe
    from calibrate.trace_records import RecordedTraces, Trace
    from calibrate.traces.acceptance_statistics import AcceptanceStatistics, acceptance_statistics
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "EFFORTS",
    "AcceptanceStatistics",
    "Artifact",
    "Effort",
    "MeasuredCosts",
    "Prompt",
    "RecordedTraces",
    "Trace",
    "acceptance_statistics",
    "builtin_prompts",
    "calibrate",
    "choose_prompts",
    "describe",
    "load_artifact",
    "read_prompts",
    "save_artifact",
]
