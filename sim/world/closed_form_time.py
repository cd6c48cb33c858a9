"""How long texts take, by the closed form of a wait, for a search that has no use for single jobs.

A policy waits for all jobs it asked for before it asks for more, so both devices are idle where a wait begins, and how
long it takes follows from its own jobs. `sim.world.simulation` finds the same event by event; tests hold the two to
each other.
"""

from functools import lru_cache

import numpy as np

from sim.costs.contention import Contention
from sim.costs.durations import Counts, Floats, Timings
from sim.scripts.work import TARGET, Scripts
from sim.world.simulation import play


def total_seconds(scripts: Scripts, given: Timings, contention: Contention, shared: bool) -> Floats:
    """Of each script, float64 [scripts]; `contention` and `shared` as `sim.world.devices.Devices` takes them."""
    first, count = scripts.waits
    if shared or contention.none or int(count.max()) == 1:
        spans = _in_order(first, count, given, scripts.work.model, shared)
    elif int(count.max()) > 2 or _same_device(first, count, scripts.work.model):
        # Jobs that queue for a device while another one slows it down have no closed form here.
        each = zip(scripts.scripts, given.by_script(scripts.ends), strict=True)
        return np.array([play(script, its, contention, shared).seconds for script, its in each])
    else:
        spans = _at_once(first, count, given, scripts, contention)
    return np.add.reduceat(spans, scripts.first_waits)


def _in_order(first: Counts, count: Counts, given: Timings, model: Counts, shared: bool) -> Floats:
    """Spans of waits whose jobs do not slow each other: each device serves its own as they were asked for."""
    spans, free = np.zeros(len(first)), np.zeros((2, len(first)))
    for place in range(int(count.max())):
        waits = np.flatnonzero(count > place)
        jobs = first[waits] + place
        device = np.zeros_like(jobs) if shared else model[jobs]
        end = np.maximum(given.before[jobs], free[device, waits]) + given.seconds[jobs]
        free[device, waits] = end
        spans[waits] = np.maximum(spans[waits], end + given.after[jobs])
    return spans


def _same_device(first: Counts, count: Counts, model: Counts) -> bool:
    pairs = first[count == 2]
    return bool((model[pairs] == model[pairs + 1]).any())


def _at_once(
    first: Counts, count: Counts, given: Timings, scripts: Scripts, contention: Contention
) -> Floats:
    """Spans of waits for one job, or for one of each model, which slow each other while both compute."""
    spans = given.before[first] + given.seconds[first] + given.after[first]
    both = np.flatnonzero(count == 2)
    target_first = scripts.work.model[first[both]] == TARGET
    target, draft = (np.where(target_first == whose, first[both], first[both] + 1) for whose in (True, False))
    slow_target, slow_draft = _slow_downs(scripts.widths[target], scripts.widths[draft], contention)
    begun, arrived = given.before[target], given.before[draft]
    overlap = np.maximum(begun, arrived)
    # What each has left where the second one arrives; a job that is over by then is not slowed.
    left_target = given.seconds[target] - (overlap - begun)
    left_draft = given.seconds[draft] - (overlap - arrived)
    meet = (left_target > 0.0) & (left_draft > 0.0)
    target_end, draft_end = overlap + left_target * slow_target, overlap + left_draft * slow_draft
    # The one that is left goes on at full speed.
    draft_first = draft_end <= target_end
    target_rest = draft_end + np.maximum(0.0, left_target - (draft_end - overlap) / slow_target)
    draft_rest = target_end + np.maximum(0.0, left_draft - (target_end - overlap) / slow_draft)
    target_end = np.where(meet, np.where(draft_first, target_rest, target_end), begun + given.seconds[target])
    draft_end = np.where(meet, np.where(draft_first, draft_end, draft_rest), arrived + given.seconds[draft])
    spans[both] = np.maximum(target_end + given.after[target], draft_end + given.after[draft])
    return spans


def _slow_downs(tokens: Counts, branches: Counts, contention: Contention) -> tuple[Floats, Floats]:
    # One number for each pair: to sort numbers is much faster than to sort pairs.
    width = int(branches.max()) + 1
    pairs, which = np.unique(tokens * width + branches, return_inverse=True)
    known = np.array([_slow_down(contention, *divmod(pair, width)) for pair in pairs.tolist()]).reshape(-1, 2)
    found = known[which.reshape(-1)]
    return found[:, 0], found[:, 1]


@lru_cache(maxsize=1 << 14)
def _slow_down(contention: Contention, tokens: int, branches: int) -> tuple[float, float]:
    """Many scripts have the same pairs of work."""
    return contention.slow_downs(tokens, branches)
