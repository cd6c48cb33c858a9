"""The discrete-event simulator; runs the engine's own policies without importing torch.

As a library it exports the following, and imports each when it is asked for:

- `Replay`: a calibration under a `scenarios.WhatIf`; `Replay.runs` are those of any configuration over the texts, and
  `Replay.tallies` the same in brief, each a `Tally`.
- `tune` searches a `Grid`, within `Bounds`, and gives a `Tuning`: the best and what is tied with it, each `Scored`.
  `save_tuned` and `load_tuned`: the file of it, a `TunedConfiguration`, which `specbranch verify` runs.
- `run_scenario` plays what `scenarios.load_scenarios` reads, and gives an `Outcome` for each configuration;
  `run_served` does so where requests are served together (`ServedOutcome`).
- `regime_map`: which method wins over ratio and alignment, as a `RegimeMap`.

What is found is drawn by `reports`.

>>> from calibrate import load_artifact
>>> from engine import Configuration, speed
>>> from scenarios import REFERENCE
>>> from sim import Replay
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

from typing import TYPE_CHECKING

from engine.exports import on_demand

if TYPE_CHECKING:
    from sim.search.grid import Grid
    from sim.search.objectives import Bounds
    from sim.search.regime_map import regime_map
    from sim.search.regimes import RegimeMap
    from sim.search.tune import Scored, Tuning, tune
    from sim.search.tuned import TunedConfiguration, load_tuned, save_tuned
    from sim.sweeps.run import Outcome, run_scenario
    from sim.sweeps.served import run_served
    from sim.sweeps.served_outcome import ServedOutcome
    from sim.world.replay import Replay, Tally
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "Bounds",
    "Grid",
    "Outcome",
    "RegimeMap",
    "Replay",
    "Scored",
    "ServedOutcome",
    "Tally",
    "TunedConfiguration",
    "Tuning",
    "load_tuned",
    "regime_map",
    "run_scenario",
    "run_served",
    "save_tuned",
    "tune",
]
