"""How a search is shared out: nothing is left out or done twice, and what goes well together stays together."""

from collections import defaultdict

import pytest

from sim.search.grid import Grid
from sim.search.processes import parts

GRID = Grid().configurations(["one", "other"], ["in-turn", "at-once"])


@pytest.mark.parametrize("processes", [1, 2, 64])
@pytest.mark.parametrize("step", [1, 7, len(GRID)])
def test_parts(processes: int, step: int) -> None:
    configurations = GRID[::step]
    found = list(parts(configurations, processes))
    assert sorted(map(repr, configurations)) == sorted(repr(c) for part in found for c in part)
    assert all(len({c.draft for c in part}) == 1 for part in found)
    holders = defaultdict(set)
    for index, part in enumerate(found):
        for c in part:
            holders[c.model_dump_json(exclude={"placement"})].add(index)
    assert all(len(parts_with_it) == 1 for parts_with_it in holders.values()), "placements share scripts"
