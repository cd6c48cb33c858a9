"""The sections on overheads and sensitivities say what their numbers say."""

from dataclasses import replace

import pytest
from verifications import verification

from reports.page import what_ifs
from reports.verify.verification import Supposed, Verification
from reports.wording import capital
from scenarios.what_if import WhatIf

BASE = verification(prompts=5)


def with_gain(low: float, value: float, high: float) -> Verification:
    """A record in which more branches bring just this, with everything counted and without overheads alike."""

    def changed(s: Supposed) -> Supposed:
        if s.over_one is None or s.configuration.branches == 1:
            return s
        return s.model_copy(update={"over_one": replace(s.over_one, low=low, value=value, high=high)})

    return BASE.model_copy(update={"overheads": tuple(map(changed, BASE.overheads))})


@pytest.mark.parametrize(
    ("gain", "said"),
    [
        ((1.02, 1.1, 1.2), "hedging nets a gain after all overheads"),
        ((0.8, 0.9, 0.95), "hedging costs more than it brings"),
        ((0.9, 1.05, 1.2), "whether hedging nets a gain is within its interval"),
    ],
)
def test_whether_hedging_pays(gain: tuple[float, float, float], said: str) -> None:
    finding = what_ifs.overheads(with_gain(*gain)).finding
    assert f"{said}." in finding
    assert f"{gain[1]:.2f}\u00d7 ({gain[0]:.2f} to {gain[2]:.2f})" in finding


def test_devices_are_those_that_a_configuration_keeps_busy() -> None:
    counts = {c.configuration.label(): what_ifs.devices(BASE, c.configuration) for c in BASE.compared}
    assert counts["autoregressive at-once"] == 1
    assert counts["autoregressive in-turn"] == 2
    assert {n for label, n in counts.items() if "pearl" in label or "specbranch" in label} == {2}
    rows = what_ifs.overheads(BASE).tables[-1].rows
    for row, c in zip(rows, BASE.compared, strict=True):
        assert row[4] == f"{c.measured.speed.value / counts[c.configuration.label()]:,.1f}"  # type: ignore[operator]
    assert max(float(row[5]) for row in rows if row[0].startswith("autoregressive")) == 1.0


def test_sensitivities_are_ranked_by_their_width() -> None:
    section = what_ifs.sensitivities(BASE)
    mine = {s.what_if: s.best_speed_up.value for s in BASE.sensitivities if s.configuration.drafts}
    base = mine[WhatIf()]
    reach = {
        "alignment": [v for w, v in mine.items() if w.alignment is not None],
        "draft's speed": [v for w, v in mine.items() if w.draft_speed != 1.0],
        "target's speed": [v for w, v in mine.items() if w.target_speed != 1.0],
        "overheads": [v for w, v in mine.items() if not w.overheads],
    }
    width = {name: max(*values, base) - min(*values, base) for name, values in reach.items()}
    figure = section.charts[0].views["0"].figure
    order = figure["layout"]["yaxis"]["ticktext"]
    widest, *_ = names = sorted(width, key=lambda name: -width[name])
    assert order == [capital(name) for name in names]
    assert f"depends most on the {widest}" in section.finding
    ends = {x + b for trace in figure["data"] for x, b in zip(trace["x"], trace["base"], strict=True)}
    assert sorted(ends) == pytest.approx(sorted(v for w, v in mine.items() if w != WhatIf()))


def test_a_gain_that_turns_around_is_told() -> None:
    rows = [
        s.model_copy(update={"best_speed_up": replace(s.best_speed_up, value=0.9)})
        if s.what_if.draft_speed < 1.0 and s.configuration.drafts
        else s
        for s in BASE.sensitivities
    ]
    found = what_ifs.sensitivities(BASE.model_copy(update={"sensitivities": tuple(rows)})).finding
    assert found.endswith("1 change would turn it around: draft's speed.")
