"""What requests a workload has: by its seed, with the law that it states, or as a trace says."""

from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from pydantic import ValidationError

from engine.errors import ConfigurationError
from engine.runtime.workload import Arrivals, Drawn, Lognormal, Workload, draw_requests, read_trace

MANY = 20_000
TRACE = "arrived_at,num_prefill_tokens,num_decode_tokens\n3.5,374,44\n5.0,396,109\n4.5,879,55\n"


def workload(**changed: object) -> Workload:
    return Workload.model_validate({"arrivals": {"rate": 2.0}, "requests": MANY} | changed)


def test_arrivals_at_a_rate_are_independent() -> None:
    """Times between arrivals have the exponential's mean and spread, and know nothing of each other."""
    between = np.diff(draw_requests(workload()).at, prepend=0.0)
    assert between.mean() == pytest.approx(0.5, rel=5 / MANY**0.5)
    assert between.std() == pytest.approx(0.5, rel=0.05)
    assert abs(np.corrcoef(between[1:], between[:-1])[0, 1]) < 5 / MANY**0.5


def test_another_load_keeps_the_requests() -> None:
    """At double the rate all arrive in half the time, and each is as long as it was."""
    law = {"tokens": {"geometric": 30}, "prompt_tokens": {"uniform": [4, 9]}, "requests": 100}
    slow, fast, closed = (
        draw_requests(workload(arrivals=arrivals, **law))
        for arrivals in ({"rate": 2.0}, {"rate": 4.0}, {"users": 3, "think_seconds": 2})
    )
    assert fast.at == pytest.approx(slow.at / 2)
    for other in (fast, closed):
        assert other.tokens.tolist() == slow.tokens.tolist()
        assert other.prompt_tokens.tolist() == slow.prompt_tokens.tolist()
    assert closed.at[:3].tolist() == [0.0, 0.0, 0.0]
    assert closed.at[3:].mean() == pytest.approx(2, rel=0.5)
    assert draw_requests(workload(seed=1, **law)).tokens.tolist() != slow.tokens.tolist()


def test_counts_have_the_law_that_is_stated() -> None:
    rng = np.random.default_rng(0)
    uniform, geometric, tail = (
        its.draw(rng, MANY)
        for its in (
            Drawn(uniform=(3, 6)),
            Drawn(geometric=8),
            Drawn(lognormal=Lognormal(median=200, p95=900)),
        )
    )
    assert sorted(set(uniform.tolist())) == [3, 4, 5, 6]
    assert uniform.mean() == pytest.approx(4.5, rel=0.01)
    assert geometric.mean() == pytest.approx(8, rel=0.05)
    assert geometric.var() == pytest.approx(8 * 7, rel=0.1)
    assert np.percentile(tail, [50, 95]) == pytest.approx([200, 900], rel=0.05)
    assert min(geometric.min(), tail.min()) >= 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"arrivals": {}},
        {"arrivals": {"rate": 1, "users": 2}},
        {"arrivals": {"rate": 0}},
        {"arrivals": {"rate": 1, "think_seconds": 1}},
        {"arrivals": {"users": 1, "time_scale": 2}},
        {"tokens": 0},
        {"tokens": {"uniform": [5, 3]}},
        {"tokens": {"geometric": 3, "uniform": [1, 3]}},
        {"tokens": {"lognormal": {"median": 5, "p95": 3}}},
        {"limits": {"token_seconds": 0}},
    ],
)
def test_what_makes_no_workload_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        workload(**wrong)


def test_a_trace_is_read_in_the_order_of_its_arrivals(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(TRACE)
    found = read_trace(path, time_scale=2.0)
    assert found.at.tolist() == [0.0, 2.0, 3.0]
    assert found.prompt_tokens.tolist() == [374, 879, 396]
    assert found.tokens.tolist() == [44, 55, 109]
    drawn = draw_requests(workload(arrivals={"trace": path}, requests=2))
    assert len(drawn) == 2
    assert drawn.users is None


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("num_decode_tokens", "num_decode_token", r"trace.csv:1: .* 'num_decode_tokens'.*'num_decode_token'"),
        ("396", "many", r"trace.csv:3: 'num_prefill_tokens' is 'many', which is no number"),
        ("55", "0", r"trace.csv:4: a request has"),
        ("4.5,879,55", "nan,879,55", r"trace.csv:4: a request has"),
        (TRACE[TRACE.index("3.5") :], "", "no requests"),
    ],
)
def test_what_is_wrong_in_a_trace_is_named(tmp_path: Path, old: str, new: str, says: str) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(TRACE.replace(old, new))
    with pytest.raises(ConfigurationError, match=says):
        read_trace(path)


def test_a_trace_that_is_missing_or_too_short(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_trace(path)
    path.write_text(TRACE)
    with pytest.raises(ConfigurationError, match="has 3 requests, and 4 are asked for"):
        read_trace(path, count=4)


@given(st.floats(0.1, 1e3), st.integers(1, 64), st.floats(0, 10))
def test_a_load_has_a_name(rate: float, users: int, think: float) -> None:
    assert Arrivals(rate=rate).label() == f"{rate:g} requests/s"
    assert Arrivals(users=users, think_seconds=think).label().startswith(f"{users} user")
