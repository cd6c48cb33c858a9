"""Replay many configurations, spread over processes that never import torch."""

import gc
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from uuid import uuid4

from calibrate.artifact import Artifact
from engine.configuration import Configuration
from scenarios.what_if import WhatIf
from sim.search.backends import results_as
from sim.world.replay import Replay, Tally


def usable_processes() -> int:
    """As many as there are cores to use, here or on the cluster of the backend that is set."""
    import joblib  # type: ignore[import-untyped]  # half of what importing this module would take

    return int(joblib.effective_n_jobs(-1))


PARTS = 6  # for each process, so that none waits long for the last one


@dataclass
class ParallelReplay:
    """A calibration under a what-if, for `tallies` of many configurations at once.

    `processes`: how many. `outside` counts the operations beyond what was measured, `operations` all. `name`: like no
    other one's.
    """

    artifact: Artifact
    what_if: WhatIf
    seed: int
    processes: int
    outside: Counter[str] = field(default_factory=Counter)
    operations: int = 0
    name: str = field(default_factory=lambda: uuid4().hex)

    def tallies(
        self, configurations: Sequence[Configuration], prompts: Sequence[int], done: Callable[[int], None]
    ) -> dict[Configuration, list[Tally]]:
        """Each configuration on each prompt in brief; `done` hears how many configurations were just finished."""
        shares = list(parts(configurations, self.processes))
        world = Replay(self.artifact, self.what_if, self.seed, prompts)
        sent = _Sent(f"{self.name}.{prompts}", world)
        finished: Iterable[_Finished]
        if self.processes == 1:
            finished = (_replay_part(part, sent) for part in shares)
        else:
            import joblib

            parallel = joblib.Parallel(n_jobs=self.processes, return_as=results_as("generator_unordered"))
            finished = parallel(joblib.delayed(_replay_part)(part, sent) for part in shares)
        found: dict[Configuration, list[Tally]] = {}
        for tallies, outside, operations in finished:
            found.update(tallies)
            self.outside += outside
            self.operations += operations
            done(len(tallies))
        return found


_Finished = tuple[dict[Configuration, list[Tally]], Counter[str], int]


@dataclass(frozen=True)
class _Sent:
    """A replay on its way to another process, which keeps the first one of a name and what it has prepared."""

    name: str
    replay: Replay = field(compare=False)


@lru_cache(maxsize=1)
def _opened(sent: _Sent) -> Replay:
    return sent.replay


def _replay_part(part: Sequence[Configuration], sent: _Sent) -> _Finished:
    """Runs in a worker process."""
    replay = _opened(sent)
    replay.forget_notes()
    with no_collections():
        tallies = {configuration: replay.tallies(configuration) for configuration in part}
    return tallies, replay.outside.copy(), replay.operations


@contextmanager
def no_collections() -> Iterator[None]:
    """Python does not look for cycles meanwhile: a replay makes none that matter, and many objects that last."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def parts(configurations: Sequence[Configuration], processes: int) -> Iterator[list[Configuration]]:
    """Parts of one draft each, whose traces are prepared in each process that meets it.

    Placements of the same settings are in one part, as they share scripts, and settings whose drafts are alike are
    neighbours.
    """
    size = -(-len(configurations) // (PARTS * processes))
    for _, of_draft in itertools.groupby(sorted(configurations, key=_likeness), key=lambda c: c.draft):
        part: list[Configuration] = []
        for _, placements in itertools.groupby(of_draft, key=lambda c: _likeness(c)[:-1]):
            part += placements
            if len(part) >= size:
                yield part
                part = []
        if part:
            yield part


def _likeness(c: Configuration) -> tuple[str, int, float, float, str, str]:
    others = c.model_dump_json(exclude={"placement"})
    return c.draft or "", c.draft_length, c.min_confidence, c.min_bound, others, c.placement
