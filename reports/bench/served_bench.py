"""Many requests at once by the real engine: each load is served as its workload says, and measured."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from rich.console import Console

from calibrate.prompts import Prompt
from engine.configuration import Configuration
from engine.models.sampling import Sampling
from engine.models.tokenizer import Tokenizer
from engine.naming import in_words
from engine.runtime.pair import Pair
from engine.runtime.requests import Request
from engine.runtime.served_session import Serve, ServedTexts
from engine.runtime.workload import Arrivals, Limits, Requests, Workload, draw_requests
from engine.service_metrics import NO_LIMITS, measure_service, timeline
from reports.service_tables import SPEED_UPS, has_speed_ups, load_table
from scenarios.served import Batching
from sim.sweeps.served_outcome import ServedOutcome

LEAST, EACH = 8, 4  # requests of a closed loop: at least, and of each user
OPEN = 32  # requests of an open loop
WARM_TOKENS = 4  # of texts that are written before any is measured

Progress = Callable[[str, int, int], None]
"""Hears what is served, how many tokens of it were written, and how many there may be."""


@dataclass(frozen=True)
class Asked:
    """What every load is asked for: texts behind prompts, and how they are drawn.

    `prompt_tokens`: how long each prompt is made; None: prompts are as they are. With `whole`, texts go on behind their
    ends, up to `tokens`.
    """

    prompts: Sequence[Prompt]
    tokens: int = 64
    prompt_tokens: int | None = None
    requests: int | None = None
    whole: bool = False
    temperature: float = 0.0
    seed: int = 0
    limits: Limits = NO_LIMITS

    def states_length(self, arrivals: Arrivals) -> bool:
        """Whether it is said how long the prompts of a load are."""
        return self.prompt_tokens is not None or arrivals.trace is not None

    def workload(self, arrivals: Arrivals, sample: int) -> Workload:
        """The requests of one load; none said how many: as many as tell something, or all of a trace."""
        default = None if arrivals.trace else max(LEAST, EACH * arrivals.users) if arrivals.users else OPEN
        return Workload(
            arrivals=arrivals,
            requests=self.requests or default,
            prompt_tokens=self.prompt_tokens or 1,
            tokens=self.tokens,
            limits=self.limits,
            seed=self.seed + sample,
        )


def measure_loads(
    pair: Pair,
    tokenizer: Tokenizer,
    configurations: Sequence[Configuration],
    batching: Batching,
    loads: Sequence[Arrivals],
    asked: Asked,
    times: int = 1,
    progress: Progress | None = None,
) -> Iterator[ServedOutcome]:
    """Serve each load so many times, every time other requests, after a few that are not measured.

    Of each load the outcomes of all `configurations`, in their order. Each time all of them serve the same requests,
    one behind another; who begins takes turns, so that a machine that grows slower favours none.
    """
    drawn = [[draw_requests(asked.workload(load, sample)) for sample in range(times)] for load in loads]
    known = [tokenizer.encode(prompt.text) for prompt in asked.prompts]
    ends = () if asked.whole else tokenizer.end_tokens
    made = [
        [
            make_requests(configurations[0], its, known, ends, asked, sample, asked.states_length(load))
            for sample, its in enumerate(each)
        ]
        for load, each in zip(loads, drawn, strict=True)
    ]
    how = Serve((), None, batching.budget, batching.discipline, batching.chunks)
    few = made[-1][0][: batching.sequences]
    for configuration in configurations:
        warm = [replace(request, settings=configuration, max_tokens=WARM_TOKENS) for request in few]
        pair.serve(configuration, warm, replace(how, at=[0.0] * len(warm)))
    for load, each, requests in zip(loads, drawn, made, strict=True):
        served: dict[Configuration, list[ServedTexts]] = {
            configuration: [] for configuration in configurations
        }
        for sample, (its, mine) in enumerate(zip(each, requests, strict=True)):
            at = replace(how, at=its.at.tolist(), users=its.users)
            first = sample % len(configurations)
            for configuration in (*configurations[first:], *configurations[:first]):
                named = load.label() + (f", {sample + 1} of {times}" if times > 1 else "")
                if len(configurations) > 1:
                    named = f"{named}, {in_words(configuration)}"
                hear = _teller(progress, named, sum(request.max_tokens for request in mine))
                theirs = [replace(request, settings=configuration) for request in mine]
                served[configuration].append(pair.serve(configuration, theirs, at, hear))
        for configuration, texts in served.items():
            yield _measured(configuration, batching, load, texts, asked.limits)


def make_requests(
    configuration: Configuration,
    drawn: Requests,
    prompts: Sequence[Sequence[int]],
    end_tokens: Collection[int],
    asked: Asked,
    sample: int = 0,
    long: bool = False,
) -> list[Request]:
    """Requests for texts behind the prompts in turn, each with a seed of its own; with `long`, as long as drawn."""
    first = sample * len(drawn)
    found = []
    for number, (length, tokens) in enumerate(
        zip(drawn.prompt_tokens.tolist(), drawn.tokens.tolist(), strict=True), first
    ):
        prompt = prompts[number % len(prompts)]
        found.append(
            Request(
                as_long(prompts, number, length) if long else list(prompt),
                configuration,
                tokens,
                end_tokens,
                Sampling(temperature=asked.temperature, seed=asked.seed + number),
            )
        )
    return found


def as_long(prompts: Sequence[Sequence[int]], number: int, length: int) -> list[int]:
    """So many tokens of one prompt and, where it has fewer, of those behind it."""
    found: list[int] = []
    while len(found) < length:
        found += prompts[number % len(prompts)][: length - len(found)]
        number += 1
    return found


def _teller(progress: Progress | None, named: str, tokens: int) -> Callable[[int, int], None] | None:
    if progress is None:
        return None
    tell = progress
    tell(named, 0, tokens)
    return lambda ended, written: tell(named, written, tokens)


def _measured(
    configuration: Configuration,
    batching: Batching,
    load: Arrivals,
    served: Sequence[ServedTexts],
    limits: Limits,
) -> ServedOutcome:
    runs = [run for its in served for run in its.runs]
    alone = [run.warning for run in runs if run.warning is not None]
    notes = []
    if alone:
        notes.append(
            f"{len(alone)} of {len(runs)} requests were written without the draft; of the first, {alone[0]}"
        )
    return ServedOutcome.of(
        configuration,
        batching,
        load,
        [measure_service(its.service, limits) for its in served],
        timeline(served[0].service),
        sum(len(run.rounds) for run in runs),
        notes=notes,
    )


def print_loads(
    out: Console,
    title: str,
    outcomes: Sequence[ServedOutcome],
    limits: Limits,
    remarks: Sequence[str],
    wide: bool,
) -> None:
    """The table that `simulate` prints of served requests, of what was measured."""
    out.print(load_table(title, outcomes, limits, wide))
    if has_speed_ups(outcomes):
        out.print(SPEED_UPS, highlight=False)
    times = len(outcomes[0].samples)
    if times > 1:
        out.print(
            f"Means of {times} times, each of other requests, with 95% intervals of what has one.",
            highlight=False,
        )
    else:
        out.print(
            "Each load was served once, so that figures have no intervals (--samples).", highlight=False
        )
    for note in dict.fromkeys([*remarks, *(note for outcome in outcomes for note in outcome.notes)]):
        out.print(f"Note: {note.removesuffix('.')}.", highlight=False)
