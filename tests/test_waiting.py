"""What the system counts as waiting for a core."""

import os
import subprocess
import sys
import time
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from engine.runtime.placement import usable_cores
from engine.runtime.waiting import waited_since, waits

known = pytest.mark.skipif(not waits(), reason="this system does not say how long threads wait for a core")
counts = st.dictionaries(st.integers(1, 9), st.floats(0.0, 100.0))


@given(counts, counts)
def test_threads_that_end_or_begin_meanwhile_take_nothing_away(
    before: dict[int, float], now: dict[int, float]
) -> None:
    later = {thread: before.get(thread, 0.0) + seconds for thread, seconds in now.items()}
    assert waited_since(before, later) == pytest.approx(sum(now.values()), abs=1e-9)


def test_it_is_the_second_number_of_each_thread_in_nanoseconds(tmp_path: Path) -> None:
    for process, thread, written in (
        (7, 7, "5 2000000000 1"),
        (7, 8, "5 500000000 1"),
        (9, 9, ""),
        (9, 10, "5 1 1"),
    ):
        folder = tmp_path / str(process) / "task" / str(thread)
        folder.mkdir(parents=True)
        (folder / "schedstat").write_text(written + "\n")
    assert waits([7, 9, 11], tmp_path) == pytest.approx({7: 2.0, 8: 0.5, 10: 1e-9})


@known
def test_two_that_share_a_core_wait_for_each_other() -> None:
    """About half of the time; alone on a core, one would hardly wait at all."""
    loop = "while True: pass"
    core = usable_cores()[0]
    with (
        subprocess.Popen([sys.executable, "-c", loop]) as one,
        subprocess.Popen([sys.executable, "-c", loop]) as other,
    ):
        try:
            for process in (one, other):
                os.sched_setaffinity(process.pid, [core])
            time.sleep(0.3)
            before = waits([one.pid, other.pid])
            time.sleep(0.6)
            assert waited_since(before, waits([one.pid, other.pid])) > 0.3
        finally:
            for process in (one, other):
                process.kill()
