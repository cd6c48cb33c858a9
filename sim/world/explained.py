"""How much of real rounds' time a calibration's costs account for.

The calibration's own rehearsals, real generations on its prompts, are replayed with its costs. As the texts are
the very same, what is left is what the parts do not add up to.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from calibrate.artifact import Artifact
from calibrate.cost_records import Rehearsal
from engine.configuration import Configuration
from engine.metrics import Estimate, ratio_of_sums
from engine.naming import in_words
from engine.record import Run
from sim.world.replay import Replay


@dataclass(frozen=True)
class Explained:
    """A configuration's real rounds against replayed ones.

    `share`: the replayed time of a round over the real one's, with its 95% interval over prompts. `parts`: of each,
    real and replayed seconds a round in which target and draft compute, and in which neither does. `unlike`: runs
    that a numeric tie led through other rounds than the replay; the time of a round hardly depends on it.
    """

    configuration: Configuration
    runs: int
    rounds: int
    share: Estimate
    parts: dict[str, tuple[float, float]]
    unlike: int


def explain(artifact: Artifact) -> list[Explained]:
    """One for each configuration that was rehearsed."""
    by_configuration: dict[Configuration, list[Rehearsal]] = defaultdict(list)
    for rehearsal in artifact.rehearsals:
        by_configuration[rehearsal.configuration].append(rehearsal)
    return [_explain(artifact, *some) for some in by_configuration.items()]


def _explain(artifact: Artifact, configuration: Configuration, rehearsals: Sequence[Rehearsal]) -> Explained:
    world = Replay(artifact, seed=artifact.costs.seed, prompts=[r.prompt for r in rehearsals])
    real, replayed = [r.run for r in rehearsals], world.runs(configuration)
    # A replay's seconds for as many rounds as the real run took.
    scaled = [s.seconds * len(r.rounds) / len(s.rounds) for r, s in zip(real, replayed, strict=True)]
    counts = [sum(len(run.rounds) for run in runs) for runs in (real, replayed)]
    return Explained(
        configuration,
        runs=len(real),
        rounds=counts[0],
        share=ratio_of_sums(scaled, [run.seconds for run in real]),
        parts={
            part: (sum(map(time, real)) / counts[0], sum(map(time, replayed)) / counts[1])
            for part, time in (
                ("target", lambda run: run.busy("target")),
                ("draft", lambda run: run.busy("draft")),
                ("neither", lambda run: run.seconds - run.computing()),
            )
        },
        unlike=sum(not same_rounds(a, b) for a, b in zip(real, replayed, strict=True)),
    )


def same_rounds(a: Run, b: Run) -> bool:
    """Whether both wrote the same text in the same rounds.

    What the last rounds drafted past the text's end is not compared, since a trace knows nothing of it.
    """
    return a.tokens == b.tokens and [r.emitted for r in a.rounds] == [r.emitted for r in b.rounds]


def describe(artifact: Artifact) -> Iterator[str]:
    """What `explain` finds, line by line."""
    for found in explain(artifact):
        parts = ", ".join(
            f"{part} {1e3 * replayed:.1f} of {1e3 * real:.1f} ms"
            for part, (real, replayed) in found.parts.items()
        )
        apart = f"; {found.unlike} runs went through other rounds" if found.unlike else ""
        share = found.share
        yield (
            f"of {found.rounds} real rounds of {in_words(found.configuration)}, costs account for {share.value:.1%} "
            f"of the time ({share.low:.1%} to {share.high:.1%} over {found.runs} prompts); a round: {parts}{apart}"
        )
