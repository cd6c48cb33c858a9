"""Records for tests whose "measured" runs were simulated, so that every part of their errors is known."""

from dataclasses import replace

import verifications
from artifacts import artifact

from calibrate.artifact import Artifact
from calibrate.cost_records import MeasuredCosts
from engine.configuration import Configuration
from engine.metrics import measure, speed, speed_up
from engine.record import Run
from reports.verify.verification import Compared, Sample, Side, Verification
from sim.world.replay import Replay

CONFIGURATIONS = (
    Configuration(policy="autoregressive", placement="in-turn"),
    Configuration(policy="speculative", draft="int4", draft_length=3, placement="in-turn"),
    Configuration(policy="pearl", draft="int4", draft_length=3),
    Configuration(policy="specbranch", draft="int4", draft_length=3, branches=3, adaptive_branches=False),
)
HERE = artifact(prompts=3, tokens=24, seed=1, jitter=False)
ELSEWHERE = artifact(prompts=4, tokens=24, seed=2, jitter=False)


def scaled(made: Artifact, factor: float) -> Artifact:
    """The same texts where everything takes `factor` times as long."""

    def slower(value: object) -> object:
        if isinstance(value, dict):
            return {key: slower(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return tuple(slower(inner) for inner in value)
        return value * factor if isinstance(value, float) else value

    document = made.costs.model_dump()
    document["placements"] = slower(document["placements"])
    return replace(made, costs=MeasuredCosts.model_validate(document))


def side(runs: list[Run]) -> Side:
    return Side(
        speed=speed(runs),
        speed_up=speed_up(runs, runs),
        best_speed_up=speed_up(runs, runs),
        metrics=measure(runs),
    )


def record(real: Artifact, model: Artifact, repeats: int = 1) -> Verification:
    """A record whose runs are simulated with the costs of `real`, and predicted by `model`."""
    base = verifications.verification(prompts=3, tokens=24, lengths=(2,), branches=(1,))
    compared = []
    for configuration in CONFIGURATIONS:
        runs = [replace(run, world="engine") for run in Replay(real).runs(configuration)]
        samples = [
            Sample(prompt=prompt, repeat=repeat, order=prompt, run=run)
            for repeat in range(repeats)
            for prompt, run in enumerate(runs)
        ]
        compared.append(
            Compared(
                configuration=configuration,
                role="other",
                as_calibrated=speed(Replay(model).runs(configuration)),
                predicted=side(Replay(model).runs(configuration)),
                replayed=None,
                measured=side(runs * repeats),
                samples=tuple(samples),
                near_ties=0,
                mismatches=0,
            )
        )
    shown = base.timeline.model_copy(
        update={"configuration": CONFIGURATIONS[2], "real": compared[2].samples[0].run}
    )
    return base.model_copy(
        update={
            "compared": tuple(compared),
            "prompts": real.recorded.prompts,
            "seed": 0,
            "timeline": shown,
        }
    )
