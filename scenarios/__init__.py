"""Scenario files (YAML) and their schema, what comes along by name, and which calibration a scenario replays.

As a library it exports the following, and imports each when it is asked for; nothing in it needs torch:

- `WhatIf`: what is to be otherwise than in a calibration, a network `Link` between the models among it.
- `load_scenarios` reads a file, `load_scenario` one that names one hardware at most; each gives a `Scenario`, which
  `sim.run_scenario` plays. `find_scenario` finds those that come along, which `scenario_names` lists.
- `open_calibration`: the calibration that a command would replay here; `REFERENCE`: the folder of the one that comes
  along.

>>> from scenarios import WhatIf
>>> WhatIf(draft_speed=2, alignment=0.7).label()
'draft x2, alignment 70%'
"""

from typing import TYPE_CHECKING

from engine.exports import on_demand

if TYPE_CHECKING:
    from scenarios.calibrations import open_calibration
    from scenarios.schema import Scenario, load_scenario, load_scenarios
    from scenarios.shipped import REFERENCE, find_scenario, scenario_names
    from scenarios.what_if import Link, WhatIf
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "REFERENCE",
    "Link",
    "Scenario",
    "WhatIf",
    "find_scenario",
    "load_scenario",
    "load_scenarios",
    "open_calibration",
    "scenario_names",
]
