"""What counts as a good prediction is read from a share, a file, or nothing."""

from pathlib import Path

import pytest

from engine.errors import ConfigurationError
from reports.verify.tolerance import Tolerance, read_tolerance


def test_nothing_given_is_the_standard() -> None:
    assert read_tolerance(None) == Tolerance()


def test_a_share_bounds_nine_in_ten_and_half_of_it_the_median() -> None:
    found = read_tolerance("0.2")
    assert (found.tail_error, found.median_error) == (0.2, 0.1)
    assert found.model_copy(update={"tail_error": 0.1, "median_error": 0.05}) == Tolerance()
    for wrong in ("0", "1.5", "nan", "-0.1"):
        with pytest.raises(ConfigurationError, match="between 0 and 1"):
            read_tolerance(wrong)


def test_a_file_sets_what_it_names(tmp_path: Path) -> None:
    file = tmp_path / "t.yaml"
    file.write_text("tau: 0.5\nregret: 0.1\n")
    assert read_tolerance(str(file)) == Tolerance(tau=0.5, regret=0.1)
    file.write_text("tua: 0.5\n")
    with pytest.raises(ConfigurationError, match="did you mean 'tau'"):
        read_tolerance(str(file))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_tolerance(str(tmp_path / "none.yaml"))
