"""Whether a machine was steady enough to judge by: who else had its cores, and how a fixed operation's time varied."""

from collections.abc import Sequence

import numpy as np

from engine.metrics import Estimate
from reports.verify.check import Check
from reports.verify.tolerance import Tolerance
from reports.verify.verification import Verification
from reports.wording import milliseconds, number, percent


def unsteadiness(seconds: Sequence[float]) -> float:
    """90th over 10th percentile of a fixed operation's times; 1 where there are none."""
    if not len(seconds):
        return 1.0
    low, high = np.percentile(seconds, [10, 90])
    return float(high / low)


def waiting(v: Verification) -> float:
    """For what share of the runs' time threads waited for a core that something else had; 0 where nobody knows."""
    timed = [s for c in v.compared for s in c.samples if s.waited is not None]
    seconds = sum(s.run.seconds for s in timed)
    return sum(s.waited or 0.0 for s in timed) / seconds if seconds else 0.0


def unsteady_note(reference: Sequence[float], tolerance: Tolerance) -> list[str]:
    """A note where the machine was less steady than is tolerated, by its reference operation's seconds."""
    if unsteadiness(reference) <= tolerance.unsteadiness:
        return []
    low, high = np.percentile(reference, [10, 90])
    return [
        f"the machine was unsteady: the reference operation took {low * 1e3:.1f} ms at the 10th and "
        f"{high * 1e3:.1f} ms at the 90th percentile"
    ]


def steadiness(v: Verification) -> Check:
    """Of the machine, in a verification's runs."""
    return steadiness_of(waiting(v), v.reference_seconds, v.tolerance)


def steadiness_of(share: float, reference: Sequence[float], tolerance: Tolerance) -> Check:
    """Whether others let the program's threads compute, and if so a fixed operation's times.

    `share`: of the time for which threads waited for a core; `reference`: the operation's seconds.
    """
    most = tolerance.waiting
    if share > most:
        return Check(
            name="steadiness",
            figure=Estimate(share, share, share),
            bound=most,
            outcome="undecided",
            sentence=f"for {percent(share)} of the runs' time threads waited for a core that something else had, "
            f"and {percent(most)} is allowed: end what computes beside a verification",
        )
    found, bound = unsteadiness(reference), tolerance.unsteadiness
    sentence = "no reference operation was timed"
    if reference:
        low, high = np.percentile(reference, [10, 90])
        sentence = (
            f"the reference operation took {milliseconds(low, 1)} at the 10th and {milliseconds(high, 1)} at the 90th "
            f"percentile, {number(found, 2)} times as long, and {number(bound, 2)} is allowed"
        )
    return Check(
        name="steadiness",
        figure=Estimate(found, found, found),
        bound=bound,
        outcome="held" if found <= bound else "undecided",
        sentence=sentence,
    )
