"""Published times beside extrapolated ones: the page shows what the program computes, and no way is too good."""

from pathlib import Path

import pytest

from engine.errors import ConfigurationError
from scenarios.hardware_levels import LEVELS, lines, read_levels

PAGE = Path(__file__).parent.parent / "docs" / "hardware-profiles.md"


def test_the_page_shows_the_table() -> None:
    assert "\n".join(lines(read_levels())) in PAGE.read_text()


def test_a_bare_roofline_is_a_bound() -> None:
    bare = [
        (1e3 * times.seconds(1, level.context), level.ms)
        for level in read_levels()
        for times in level.ways.values()
        if times.roofline is not None and not times.roofline.launches
    ]
    assert len(bare) >= 12
    assert all(extrapolated < published for extrapolated, published in bare)


def test_layers_of_a_profile_are_the_published_sums() -> None:
    """Each sum is the first figure of its profile times its layers."""
    published = {level.title: level.ms for level in read_levels()}
    assert published["Llama-2-70B, layers alone, 4 H100"] == pytest.approx(80 * 0.179)
    assert published["Llama-2-70B, layers alone, 1 A100"] == pytest.approx(80 * 1.118)


def test_a_wrong_entry_is_named_by_its_line(tmp_path: Path) -> None:
    text = LEVELS.read_text()
    file = tmp_path / "levels.yaml"
    file.write_text(text.replace("device: h100-sxm, devices: 2", "device: h100-smx, devices: 2"))
    with pytest.raises(
        ConfigurationError, match=r"levels.yaml:\d+: .*levels.0.ways.data sheet.roofline.device"
    ):
        read_levels(file)
