"""Speed against waste: what no other configuration beats."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from verifications import verification

from engine.configuration import Configuration
from engine.metrics import Estimate
from reports.page.frontier import Place, front, frontier, wasted

AUTOREGRESSIVE = Configuration(policy="autoregressive")
places = st.lists(
    st.builds(
        lambda waste, speed: Place(AUTOREGRESSIVE, waste, Estimate(speed, speed, speed), True),
        st.integers(0, 6).map(float),
        st.integers(1, 6).map(float),
    ),
    min_size=1,
    max_size=12,
)


def beats(a: Place, b: Place) -> bool:
    no_worse = a.waste <= b.waste and a.speed.value >= b.speed.value
    return no_worse and (a.waste, a.speed.value) != (b.waste, b.speed.value)


@given(places)
def test_the_front_is_what_nothing_beats(some: list[Place]) -> None:
    best = front(some)
    assert {(p.waste, p.speed.value) for p in best} == {
        (p.waste, p.speed.value) for p in some if not any(beats(other, p) for other in some)
    }
    assert [p.waste for p in best] == sorted(p.waste for p in best)


def test_waste_is_rollback_and_hedge_for_each_token() -> None:
    v = verification()
    for c in v.compared:
        rounds = [r for s in c.samples for r in s.run.rounds]
        lost = sum(r.rollback + r.hedge for r in rounds) / sum(r.emitted for r in rounds)
        assert wasted(c.measured.metrics) == pytest.approx(lost)


def test_the_section_keeps_measured_and_simulated_apart() -> None:
    v = verification()
    section = frontier(v)
    rows = section.tables[0].rows
    assert {row[1] for row in rows} == {"measured", "simulated"}
    # Nothing drafted, nothing wasted: the best autoregressive set-up is always among them.
    assert rows[0][0].startswith("autoregressive")
    assert f"{sum(row[1] == 'measured' for row in rows)} are beaten by no other" in section.finding
