"""One criterion of a verification, as it is judged and shown."""

from engine.frozen_record import FrozenRecord
from engine.metrics import Estimate
from reports.verify.looks import Decision


class Check(FrozenRecord):
    """One criterion: a figure with its limits (counted ones have none), its bound, and what came of it.

    `prompts`: at how many it was decided, if a look decided it; `needs`: what would decide it, if it is open;
    `least`: the bound is one to reach.
    """

    name: str
    figure: Estimate
    bound: float
    outcome: Decision
    sentence: str
    prompts: int | None = None
    needs: str = ""
    least: bool = False
