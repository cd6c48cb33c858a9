"""A policy over one path, with stated costs: the smallest simulation there is."""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.policies.settings import Settings
from engine.record import Run
from scenarios.what_if import Link
from sim.acceptance.sources import AcceptanceSource
from sim.costs.durations import Costs, timings
from sim.scripts.script import PROMPT_TOKEN, write_script
from sim.scripts.work import Scripts
from sim.world.simulation import play_all, record


@dataclass(frozen=True)
class Setting:
    """What a run needs beside policy and path.

    With `shared` both models take turns on one device, and no `link` lies between them. `prompt`: its tokens, at
    least one. `sampled`: tokens are drawn, which takes longer than choosing them.
    """

    costs: Costs
    shared: bool = False
    prompt: Sequence[int] = (PROMPT_TOKEN,)
    link: Link | None = None
    sampled: bool = False


def simulate(settings: Settings, source: AcceptanceSource, setting: Setting) -> Run:
    """Run one policy over one path.

    ConfigurationError if there is no such policy, or if it wants more branches than the source knows candidates.
    """
    script = write_script(settings, source, setting.prompt)
    scripts = Scripts([script], [0])
    link = None if setting.shared else setting.link
    given = timings(scripts, setting.costs, link, setting.sampled)
    (played,) = play_all(scripts, given, setting.costs.contention, setting.shared)
    return record(played, setting.shared)
