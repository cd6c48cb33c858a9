"""The discrete-event simulator; runs the engine's own policies without importing torch.

As a library, one imports from its modules; this package imports nothing by itself:

- `sim.world.replay`: `Replay`, a calibration under a `scenarios.what_if.WhatIf`; `Replay.runs` are those of any
  configuration over the texts.
- `sim.search.tune`: `tune` searches a grid (`sim.search.grid.Grid`) and gives the best and what is tied with it.
- `sim.sweeps.run`: `run_scenario`, for the files that `scenarios.schema.load_scenarios` reads.
- `sim.search.regime_map`: `regime_map`, which method wins over ratio and alignment.

What is found is drawn by `reports`: `reports.page.report.write_page`, `reports.map.regime_page.write_map`.

>>> from calibrate.artifact import load_artifact
>>> from engine.configuration import Configuration
>>> from engine.metrics import speed
>>> from scenarios.shipped import REFERENCE
>>> from sim.world.replay import Replay
>>> world = Replay(load_artifact(REFERENCE), prompts=[0, 1], tokens=24)
>>> plain, drafted = (
...     world.runs(Configuration(policy=policy, draft="int8", placement="in-turn"))
...     for policy in ("autoregressive", "speculative")
... )
>>> [run.tokens for run in plain] == [run.tokens for run in drafted]
True
>>> speed(drafted).value > speed(plain).value
True
"""
