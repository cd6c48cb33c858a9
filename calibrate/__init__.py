"""Measurements of a model pair on real hardware, and the prompts that they are taken on.

As a library, one imports from its modules; this package imports nothing by itself, and reading needs no torch:

- `calibrate.artifact`: `load_artifact`, `save_artifact`, and `Artifact`, which they take and give: costs
  (`calibrate.cost_records`) and acceptance traces (`calibrate.trace_records`), of one calibration or of two.
- `calibrate.run`: `calibrate` measures an open pair (`engine.runtime.pair.open_pair`) with one of `EFFORTS`.
- `calibrate.prompts`: `choose_prompts`, `read_prompts`, and `Prompt`.
- `calibrate.traces.acceptance_statistics`: how often drafts are right, by position and by kind of text.

>>> from calibrate.artifact import load_artifact
>>> from scenarios.shipped import REFERENCE
>>> artifact = load_artifact(REFERENCE)
>>> sorted(artifact.recorded.drafts)
['distilled', 'int4', 'int8']
"""
