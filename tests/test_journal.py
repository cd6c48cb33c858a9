"""A journal gives back what was measured under the same conditions, and nothing else."""

from pathlib import Path

import pytest

from calibrate.journal import Journal


def test_a_finished_step_is_not_measured_again(tmp_path: Path) -> None:
    calls: list[int] = []

    def measure() -> list[float]:
        calls.append(1)
        return [0.5, 1.5]

    assert Journal(tmp_path, {"a": 1}).step("k", measure) == [0.5, 1.5]
    again = Journal(tmp_path, {"a": 1})
    assert again.step("k", measure) == [0.5, 1.5]
    assert (len(calls), again.resumed) == (1, 1)
    Journal(tmp_path, {"a": 2}).step("k", measure)
    assert len(calls) == 2


def test_a_failed_or_damaged_step_is_measured_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path, [])

    def fail() -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        journal.step("k", fail)
    assert journal.step("k", lambda: 1) == 1
    (journal.folder / "k.json").write_text("{")
    assert journal.step("k", lambda: 2) == 2


def test_clearing_forgets_everything(tmp_path: Path) -> None:
    journal = Journal(tmp_path, [])
    journal.step("k", lambda: 1)
    journal.clear()
    assert list(tmp_path.iterdir()) == []
