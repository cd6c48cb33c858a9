"""Simulated services held to the laws of queues, each stated where it is tested.

Sampled ones within five standard errors over independent services, which have to be small enough to mean something.
"""

from collections.abc import Callable, Sequence

import hypothesis.strategies as st
import numpy as np
import pytest
from closed_forms import speculative_tokens_per_round
from hypothesis import given

from engine.policies.settings import Settings
from engine.runtime.scheduler import Budget
from engine.runtime.workload import Workload, draw_requests
from engine.service_metrics import measure_service
from engine.service_record import Model
from sim.acceptance.sources import IndependentAcceptance
from sim.costs.forward_cost import LinearForwardCost
from sim.scripts.script import write_script
from sim.scripts.work import Script
from sim.world.requests import Arrival
from sim.world.served_runs import Served
from sim.world.serving import serve

Costs = dict[Model, LinearForwardCost]

STEP = 1.0
ALONE = Settings(policy="autoregressive")
CONSTANT: Costs = {"target": LinearForwardCost(STEP), "draft": LinearForwardCost(STEP)}
ONE_AT_A_TIME = Budget(sequences=1)


def workload(**stated: object) -> Workload:
    return Workload.model_validate(stated)


def autoregressive(tokens: Sequence[int]) -> list[Script]:
    """Of so many tokens each; a forward a token."""
    known = {
        count: write_script(ALONE, IndependentAcceptance.draw(count, 0.5, 0), (0,)) for count in set(tokens)
    }
    return [known[count] for count in tokens]


def one_at_a_time(stated: Workload) -> Served:
    """Autoregressive requests on one device, each as many seconds as it has tokens."""
    requests = draw_requests(stated)
    arrivals = [
        Arrival(script, at)
        for script, at in zip(autoregressive(requests.tokens.tolist()), requests.at.tolist(), strict=True)
    ]
    return serve(arrivals, CONSTANT, ONE_AT_A_TIME, shared=True, users=requests.users)


def sampled(figure: Callable[[int], float], times: int = 16) -> tuple[float, float]:
    """The mean of a figure over as many seeds, and its standard error."""
    found = [figure(seed) for seed in range(times)]
    return float(np.mean(found)), float(np.std(found, ddof=1)) / times**0.5


def mean_waiting(stated: Workload) -> Callable[[int], float]:
    def of(seed: int) -> float:
        served = one_at_a_time(stated.model_copy(update={"seed": seed}))
        return float(np.mean([r.began - r.arrived for r in served.requests[200:]]))

    return of


@pytest.mark.parametrize("load", [0.3, 0.6])
def test_m_d_1(load: float) -> None:
    """Poisson arrivals, one server, constant service D: a mean wait of load D / (2 (1 - load)) (Kleinrock 1975)."""
    mean, error = sampled(mean_waiting(workload(arrivals={"rate": load}, tokens=1, requests=1500)))
    law = load * STEP / (2 * (1 - load))
    assert error < 0.05 * law
    assert mean == pytest.approx(law, abs=5 * error)


def test_m_g_1() -> None:
    """Poisson arrivals at rate r, any service S: a mean wait of r E[S^2] / (2 (1 - load)) (Pollaczek and Khinchine)."""
    mean_tokens, load = 2.0, 0.5
    rate = load / mean_tokens
    stated = workload(arrivals={"rate": rate}, tokens={"geometric": mean_tokens}, requests=1500)
    mean, error = sampled(mean_waiting(stated))
    chance = 1 / mean_tokens
    law = rate * (2 - chance) / chance**2 / (2 * (1 - load))
    assert error < 0.06 * law
    assert mean == pytest.approx(law, abs=5 * error)


@given(st.integers(1, 6), st.integers(1, 30), st.floats(0.0, 5.0), st.integers(1, 4), st.integers(0, 99))
def test_bounds_of_a_closed_loop(users: int, requests: int, think: float, tokens: int, seed: int) -> None:
    """Throughput is at most 1 / D and at most N / (D + Z) (Denning and Buzen 1978), D being a request's service and Z
    what its users thought in the mean; who never thinks keeps the server busy.
    """
    stated = workload(
        arrivals={"users": users, "think_seconds": think}, requests=requests, tokens=tokens, seed=seed
    )
    thought = float(draw_requests(stated).at.mean())
    found = measure_service(one_at_a_time(stated))
    each = found.requests / found.seconds
    service = tokens * STEP
    assert each <= (1 + 1e-9) / service
    assert each <= (1 + 1e-9) * users / (service + thought)
    assert found.running + found.queue <= users + 1e-9
    if not think:
        assert each == pytest.approx(1 / service)


@given(st.integers(1, 12), st.integers(1, 8), st.integers(1, 40))
def test_saturation_of_a_batch(users: int, sequences: int, tokens: int) -> None:
    """Of forwards that cost the same whatever they have, users write as many tokens a forward as run at once."""
    rounds = 3
    scripts = autoregressive([tokens] * users * rounds)
    served = serve(
        [Arrival(one) for one in scripts], CONSTANT, Budget(sequences=sequences), shared=True, users=users
    )
    found = measure_service(served)
    at_once = min(users, sequences)
    assert found.tokens_per_second <= (1 + 1e-9) * at_once / STEP
    # All forwards are full but those of the last requests, when there are fewer than room.
    assert found.seconds <= (1 + 1e-9) * tokens * -(-users * rounds // at_once) * STEP
    assert found.devices[0].busy == pytest.approx(1.0)


def steady(served: Served, edge: int) -> list[float]:
    """Seconds from end to end of the requests but for the first and last ones, when there were fewer."""
    requests = sorted(served.requests, key=lambda r: r.arrived)[edge:-edge]
    return [r.ended - r.arrived for r in requests]


def test_processor_sharing() -> None:
    """Requests of R forwards, each of A + C n seconds for n requests, at rate r take R (A + C) / (1 - r R C).

    Each runs at once at a speed that depends on how many do, which is generalized processor sharing: how many run does
    not depend on the law of their lengths (Cohen 1979), here 60 tokens each, and is negative binomial. What a request
    waits for the forward under way, up to one of them, comes on top.
    """
    base, each, forwards, rate = 1.0, 0.04, 60, 0.2
    costs: Costs = {"target": LinearForwardCost(base, sequence=each), "draft": LinearForwardCost(1.0)}
    law = forwards * (base + each) / (1 - rate * forwards * each)

    def seconds(seed: int) -> float:
        requests = draw_requests(workload(arrivals={"rate": rate}, tokens=forwards, requests=900, seed=seed))
        scripts = autoregressive(requests.tokens.tolist())
        arrivals = [Arrival(script, at) for script, at in zip(scripts, requests.at.tolist(), strict=True)]
        return float(np.mean(steady(serve(arrivals, costs, shared=True), 60)))

    mean, error = sampled(seconds, 6)
    running = rate * law
    assert error < 0.03 * law
    assert law - 5 * error < mean < law + base + each * running + 5 * error


def test_latency_of_speculation_under_load() -> None:
    """L = (g / E) (c1v + k c1d) / (1 - r (g / E) (c2v + k c2d)), with E = (1 - a^(k+1)) / (1 - a) (Kong et al.,
    arXiv 2605.15051, whose prompts' terms are none here): steps cost c1 + c2 n, and all n requests go in step.

    Their law takes the mean of n, which counts the request itself, for what it meets; so c2 is small beside c1 here,
    and many requests run. Two things come on top: a request waits for the step under way, and the last round writes
    tokens beyond the text's end. Both are some per cent of 60 rounds.
    """
    acceptance, k, tokens, rate = 0.7, 3, 150, 24.0
    c1v, c2v, c1d, c2d = 0.010, 0.00005, 0.001, 0.0000125
    costs: Costs = {
        "target": LinearForwardCost(c1v, sequence=c2v),
        "draft": LinearForwardCost(c1d, sequence=c2d),
    }
    policy = Settings(policy="speculative", draft_length=k)
    scripts = [
        write_script(policy, IndependentAcceptance.draw(tokens, acceptance, seed), (0,)) for seed in range(60)
    ]
    rounds = tokens / speculative_tokens_per_round(acceptance, k)
    law = rounds * (c1v + k * c1d) / (1 - rate * rounds * (c2v + k * c2d))
    at = draw_requests(workload(arrivals={"rate": rate}, requests=700)).at.tolist()
    arrivals = [Arrival(scripts[number % len(scripts)], time) for number, time in enumerate(at)]
    served = serve(arrivals, costs, discipline="lockstep", shared=True)
    mean = float(np.mean(steady(served, 120)))
    assert law < mean < 1.05 * law
