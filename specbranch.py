"""The command line: the verbs, nothing else."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer.core import TyperGroup

from engine.errors import ConfigurationError, SpecBranchError
from engine.paths import check_input_folder, check_model, check_output_file, check_output_folder

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from calibrate.artifact import Artifact
    from engine.models.specs import Precision

Verb = TypeVar("Verb", bound=Callable[..., None])

# The verbs in the order, and under the headings, in which the help lists them.
PANELS = {
    "Every day": ("calibrate", "tune", "verify", "report", "simulate"),
    "Measure": ("generate", "inspect", "bench", "hardware-check"),
    "Explore": ("map", "compare", "trace", "export", "merge"),
    "Make drafts": ("train-hrad", "count-ngrams", "distill"),
    "Maintain": ("schema", "bench-calibration", "bench-sim"),
}
PAIR, WHERE = "The pair", "Where it is computed"  # headings of options that several verbs share


class InOrder(TyperGroup):
    """Lists the verbs as `PANELS` does."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [name for names in PANELS.values() for name in names]


app = typer.Typer(cls=InOrder, no_args_is_help=True, pretty_exceptions_enable=False)


def verb(name: str, *examples: str) -> Callable[[Verb], Verb]:
    """The decorator of a verb, whose help ends with examples that a test parses."""
    panel = next(panel for panel, names in PANELS.items() if name in names)
    return app.command(name, rich_help_panel=panel, epilog="\n\n".join(("For example:", *examples)))


CALIBRATION = Path("runs/calibration")
TUNED = Path("runs/tuned.yaml")
VERIFICATION = Path("runs/verification.json")
SETTLEMENT = Path("runs/settlement.json")
PAGE = Path("runs/report.html")
MAP = Path("runs/map.html")
BENCHMARK = Path("runs/bench.json")
CALIBRATION_BENCHMARK = Path("runs/bench-calibration")
HRAD = Path("runs/hrad")
POLICIES = ("autoregressive", "prompt-lookup", "speculative", "adaedl", "pearl", "specbranch")
SYSTEMS = ("vllm", "sglang", "transformers")
OBJECTIVES = ("tokens-per-second", "tokens-per-device-second", "p95-token-seconds")
SHIPPED = "reference"  # names the calibration that comes along


def _input_folder(context: typer.Context, parameter: typer.CallbackParam, given: Path) -> Path:
    """A folder that was named has to be there; the one that is taken where none was named need not."""
    source = context.get_parameter_source(str(parameter.name))
    if source is not None and source.name != "DEFAULT":
        check_input_folder(given, "H-RAD's networks ('specbranch train-hrad' writes them)")
    return given


def _calibration(given: Path | None) -> Path | None:
    """A calibration's folder; the one that comes along goes by its name, where no folder has it."""
    if given == Path(SHIPPED) and not given.exists():
        from scenarios.shipped import REFERENCE

        return REFERENCE
    return given


def _shipped_scenarios(incomplete: str = "") -> list[str]:
    """The scenarios that come along and whose names begin so."""
    from scenarios.shipped import scenario_names

    return [name for name in scenario_names() if name.startswith(incomplete)]


def _one_of(*words: str) -> Callable[[str], list[str]]:
    """What a shell offers for an option that takes one of these words."""
    return lambda incomplete: [word for word in words if word.startswith(incomplete)]


def _output_file(given: Path | None) -> Path | None:
    """Said before work begins that could not be written down."""
    if given:
        check_output_file(given)
    return given


def _output_folder(given: Path) -> Path:
    check_output_folder(given)
    return given


# What several verbs take, each once and in the order in which they take it.
SomeCalibration = Annotated[
    Path | None,
    typer.Option(
        "--calibration",
        help=f"the calibration's folder, or '{SHIPPED}'; none: {CALIBRATION}, or else '{SHIPPED}'",
        callback=_calibration,
    ),
]
Quick = Annotated[bool, typer.Option("--quick", help="sooner done and less sure: fewer prompts and samples")]
Full = Annotated[bool, typer.Option("--full", help="longer and surer: more prompts, samples and tokens")]
Again = Annotated[bool, typer.Option("--again", help="do it anew, even if what is asked for is there")]
OwnPrompts = Annotated[
    Path | None, typer.Option("--own-prompts", help="your own prompts, JSONL; none: the built-in ones")
]
HradNetworks = Annotated[Path, typer.Option(help="where H-RAD's networks are", callback=_input_folder)]
Target = Annotated[
    str | None,
    typer.Option(
        "--target", help="a target model's folder or hub id; none: the default pair", rich_help_panel=PAIR
    ),
]
Deepen = Annotated[
    int,
    typer.Option(
        "--deepen",
        min=1,
        max=64,
        help="the target so many times as deep, by blocks that compute and add nothing: same text, dearer",
        rich_help_panel=PAIR,
    ),
]
DraftModel = Annotated[
    str | None,
    typer.Option(
        "--draft-model",
        help="a draft model's folder or hub id; none: drafts made of the target",
        rich_help_panel=PAIR,
    ),
]
NGrams = Annotated[
    Path | None,
    typer.Option(
        "--ngrams",
        help="what drafts guess by (see 'count-ngrams'); none: the default pair's own",
        rich_help_panel=PAIR,
    ),
]
Precision_ = Annotated[
    str,
    typer.Option(
        "--precision",
        help="the target's: float32, bfloat16 or float16",
        autocompletion=_one_of("float32", "bfloat16", "float16"),
        rich_help_panel=PAIR,
    ),
]
Remote = Annotated[
    bool,
    typer.Option("--trust-remote-code", help="run code that comes with the models", rich_help_panel=PAIR),
]
Threads = Annotated[int, typer.Option("--threads", min=1, help="of the processor")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="of everything that is drawn at random")]
TraceFile = Annotated[
    Path | None,
    typer.Option(
        "--trace", help="also write the events for Perfetto (Chrome trace format)", callback=_output_file
    ),
]
Table = Annotated[
    Path | None,
    typer.Option(
        "--table", help="also write a table, .csv or .parquet, that 'merge' takes", callback=_output_file
    ),
]
Markdown = Annotated[
    Path | None, typer.Option("--markdown", help="also write the tables here", callback=_output_file)
]
Jobs = Annotated[
    int | None,
    typer.Option("--jobs", min=1, help="processes; none: one for each core", rich_help_panel=WHERE),
]
Backend = Annotated[
    str,
    typer.Option(
        "--backend",
        help="where they run: loky (here), dask or ray",
        autocompletion=_one_of("loky", "dask", "ray"),
        rich_help_panel=WHERE,
    ),
]
Address = Annotated[
    str | None,
    typer.Option("--backend-address", help="of a Dask or Ray cluster", rich_help_panel=WHERE),
]
Wide = Annotated[bool, typer.Option("--wide", help="all columns of the table")]
AsJson = Annotated[bool, typer.Option("--json", help="print one JSON document")]


@app.callback()
def specbranch() -> None:
    """Measure, simulate, choose and verify speculative decoding with parallel branches."""


@contextmanager
def _bars() -> Iterator["Progress"]:
    """Bars with time left on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:40.40}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        yield bars


@contextmanager
def stages() -> Iterator[Callable[[str, int, int], None]]:
    """Bars on stderr; the function it gives hears a stage, what is done of it, and its total.

    Stages may take turns, so each has a bar and a time left of its own. What follows a colon is detail: 'costs: 3 of 50
    cells open' is of the stage 'costs'.
    """
    with _bars() as bars:
        starting = bars.add_task("starting", total=None)
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, total: int) -> None:
            stage = what.partition(":")[0]
            if stage not in tasks:
                bars.update(starting, visible=False)
                tasks[stage] = bars.add_task(what, total=total)
            bars.update(tasks[stage], completed=done, total=total, description=what)

        yield show


@contextmanager
def progress(total: int) -> Iterator[Callable[[str], None]]:
    """A bar of `total` steps; the function it gives notes one step and what was done."""
    with _bars() as bars:
        task = bars.add_task("starting", total=total)
        yield lambda what: bars.update(task, advance=1, description=what)


def print_calibration(artifact: "Artifact", as_json: bool) -> None:
    """A calibration for a person or, as JSON, for a machine."""
    from calibrate.summary import describe
    from calibrate.traces import acceptance_statistics as shares
    from sim.world.explained import describe as describe_share

    if as_json:
        print(artifact.calibration.model_dump_json())
        return
    acceptance = [
        *shares.describe_acceptance(shares.acceptance_statistics(artifact)),
        *shares.describe_temperature(shares.acceptance_at_temperature(artifact)),
    ]
    print("\n".join([*describe(artifact), *acceptance, *describe_share(artifact)]))


def print_error_parts(record: Path, as_json: bool) -> None:
    """What of a verification's errors is scheduling, timing and acceptance."""
    from reports.page.error_budget_page import print_error_budget
    from reports.tables import console
    from reports.verify.error_budget import split_error
    from reports.verify.paired_runs import open_replay
    from reports.verify.verification import load_verification
    from reports.wording import sentence

    verification = load_verification(record)
    replay = open_replay(record)
    with progress(len(verification.compared)) as advance:
        budget = split_error(verification, replay, advance)
    if as_json:
        said = {"remarks": verification.remarks} if verification.remarks else {}
        print(json.dumps(json.loads(budget.model_dump_json()) | said))
        return
    for remark in verification.remarks:
        console().print(sentence(remark), highlight=False)
    print_error_budget(console(), budget)


def _precision(value: str) -> "Precision":
    if value not in ("float32", "bfloat16", "float16"):
        raise ConfigurationError(f"there is no precision '{value}': float32, bfloat16 or float16.")
    return value  # type: ignore[return-value]


@verb(
    "generate",
    'specbranch generate "Why is the sky blue?"',
    'specbranch generate "Why is the sky blue?" --policy pearl --draft int8 --temperature 0.8',
)
def generate(
    prompt: Annotated[str, typer.Argument(help="what to answer")],
    policy: Annotated[
        str,
        typer.Option(help=", ".join(POLICIES), autocompletion=_one_of(*POLICIES)),
    ] = "specbranch",
    draft: Annotated[
        str | None, typer.Option(help="a draft of the default pair: int8, int4, distilled")
    ] = None,
    draft_length: Annotated[int, typer.Option(help="draft forwards in a round")] = 4,
    branches: Annotated[int, typer.Option(help="branches opened at once, at most")] = 4,
    min_confidence: Annotated[
        float, typer.Option(help="cut a draft before a token that it gives less")
    ] = 0.0,
    draw_drafts: Annotated[
        bool, typer.Option("--draw-drafts", help="draw draft tokens, where there is a temperature")
    ] = False,
    hrad: Annotated[
        bool, typer.Option("--hrad", help="cut drafts as H-RAD foresees (see 'train-hrad')")
    ] = False,
    hrad_networks: HradNetworks = HRAD,
    redraft: Annotated[
        bool, typer.Option("--redraft", help="SpecBranch: after a rejection draft a line first")
    ] = False,
    guesses: Annotated[
        int, typer.Option(help="tokens of repetitions and n-grams that a draft forward checks, at most")
    ] = 0,
    repeats: Annotated[int, typer.Option(help="lengthen lines up to so many by the text's repetitions")] = 0,
    second_under: Annotated[
        float, typer.Option(help="the target judges the draft's second choice, too, where its first has less")
    ] = 0.0,
    placement: Annotated[
        str,
        typer.Option(
            help="at-once, in-turn or threads", autocompletion=_one_of("at-once", "in-turn", "threads")
        ),
    ] = "at-once",
    config: Annotated[
        Path | None, typer.Option(help="what 'tune' wrote; it replaces the options above")
    ] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="of the answer")] = 128,
    temperature: Annotated[float, typer.Option(min=0.0, max=10.0, help="0: greedy")] = 0.0,
    top_k: Annotated[int | None, typer.Option(min=1, help="draw from so many tokens at most")] = None,
    top_p: Annotated[
        float, typer.Option(min=1e-6, max=1.0, help="draw from the likeliest tokens of this share")
    ] = 1.0,
    stop: Annotated[
        list[str] | None, typer.Option(help="end the answer with this text, too; may be given several times")
    ] = None,
    target: Target = None,
    deepen: Deepen = 1,
    draft_model: DraftModel = None,
    ngrams: NGrams = None,
    precision: Precision_ = "bfloat16",
    trust_remote_code: Remote = False,
    seed: Seed = 0,
    trace: TraceFile = None,
    as_json: AsJson = False,
) -> None:
    """Write an answer with the real engine, streaming, and print what it took."""
    from pydantic import TypeAdapter, ValidationError

    from engine.configuration import Configuration
    from engine.drafts.default_drafts import choose_models
    from engine.metrics import measure
    from engine.models.deepening import remarks
    from engine.models.sampling import Sampling
    from engine.policies import load_policy
    from engine.record import Run
    from engine.runtime.pair import find_predictors, open_pair
    from reports.chrome_trace import save_trace
    from reports.tables import run_summary

    if config:
        from sim.search.tuned import load_tuned, other_depth

        tuned = load_tuned(config)
        configuration = tuned.chosen
        if other := other_depth(tuned, deepen):
            print(f"specbranch: {other}.", file=sys.stderr)
    else:
        try:
            configuration = Configuration(
                policy=policy,
                draft=draft,
                draft_length=draft_length,
                branches=branches,
                min_confidence=min_confidence,
                draw_drafts=draw_drafts,
                hrad=hrad,
                redraft=redraft,
                guesses=guesses,
                repeats=repeats,
                second_under=second_under,
                placement=placement,  # type: ignore[arg-type]  # checked by the model
            )
        except ValidationError as error:
            first = error.errors()[0]
            raise ConfigurationError(
                f"--{str(first['loc'][0]).replace('_', '-')}: {first['msg']}."
            ) from error
    load_policy(configuration.policy)
    spec, drafts = choose_models(
        target, draft_model, _precision(precision), trust_remote_code, ngrams, deepen
    )
    # What this text does not ask for is not made ready: the default int4 draft's codes take minutes, once.
    wanted = configuration.draft_among(drafts)
    mine = {wanted: drafts[wanted]} if wanted else {}
    with open_pair(spec, mine, find_predictors(hrad_networks, mine)) as (pair, tokenizer):
        ids = tokenizer.encode(prompt)
        shown = ""
        written: list[int] = []

        def stream(tokens: Any) -> None:
            nonlocal shown
            written.extend(tokens)
            text = tokenizer.decode(written)
            # A character of several tokens is held back until it is whole.
            if not as_json and text.startswith(shown) and not text.endswith("\ufffd"):
                print(text[len(shown) :], end="", flush=True)
                shown = text

        run = pair.generate(
            configuration,
            ids,
            max_tokens=max_tokens,
            end_tokens=tokenizer.end_tokens,
            on_text=stream,
            sampling=Sampling(temperature=temperature, top_k=top_k, top_p=top_p, seed=seed),
            stops=[text for text in stop or () if text],
        )
    metrics, said = measure([run]), remarks(spec)
    if trace:
        about = {"configuration": configuration.label()} | ({"remarks": "; ".join(said)} if said else {})
        save_trace(trace, [run], about)
    if as_json:
        document = {
            "text": tokenizer.decode(run.tokens),
            "remarks": said,
            "configuration": configuration.model_dump(mode="json"),
            "metrics": TypeAdapter(type(metrics)).dump_python(metrics, mode="json"),
            "run": TypeAdapter(Run).dump_python(run, mode="json"),
        }
        print(json.dumps(document))
    else:
        print(tokenizer.decode(run.tokens)[len(shown) :])
        print(run_summary(run, metrics, said))
    if run.warning:
        print(f"specbranch: {run.warning}", file=sys.stderr)


@verb(
    "calibrate",
    "specbranch calibrate --deepen 6 --quick",
    "specbranch calibrate --target models/mine --draft-model models/small --own-prompts prompts.jsonl",
)
def calibrate(
    out: Annotated[Path, typer.Option(help="the folder to write", callback=_output_folder)] = CALIBRATION,
    quick: Quick = False,
    full: Full = False,
    again: Again = False,
    own: OwnPrompts = None,
    context: Annotated[
        int,
        typer.Option(
            min=0, help="measure costs behind so many tokens, too; as far as the prompts reach anyway"
        ),
    ] = 0,
    target: Target = None,
    deepen: Deepen = 1,
    draft_model: DraftModel = None,
    ngrams: NGrams = None,
    precision: Precision_ = "bfloat16",
    trust_remote_code: Remote = False,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Measure a pair on this machine: what operations cost, and how well the drafts predict the target."""
    from calibrate.artifact import JSON_NAME, load_artifact
    from calibrate.prompts import choose_prompts
    from calibrate.run import EFFORTS, differences
    from calibrate.run import calibrate as measure
    from engine.drafts.default_drafts import choose_models
    from engine.runtime.pair import open_pair

    effort = EFFORTS["quick" if quick else "full" if full else "default"]
    chosen = choose_prompts(own, "calibration", effort.prompts)
    models = choose_models(target, draft_model, _precision(precision), trust_remote_code, ngrams, deepen)
    if (out / JSON_NAME).exists() and not again:
        artifact = load_artifact(out)
        others = differences(artifact, *models, chosen, effort, seed, context)
        if others:
            raise ConfigurationError(
                f"{out} holds a calibration of {', '.join(others)}: --again replaces it, --out writes elsewhere."
            )
        print(f"{out} holds just this already; --again measures anew.", file=sys.stderr)
    else:
        with open_pair(*models) as (pair, tokenizer), stages() as show:
            artifact = measure(pair, tokenizer, chosen, effort, out, seed=seed, context=context, show=show)
    print_calibration(artifact, as_json)


@verb("bench-calibration", "specbranch bench-calibration --quick")
def bench_calibration(
    out: Annotated[
        Path, typer.Option(help="where the three calibrations go", callback=_output_folder)
    ] = CALIBRATION_BENCHMARK,
    quick: Quick = False,
    target: Target = None,
    deepen: Deepen = 1,
    draft_model: DraftModel = None,
    ngrams: NGrams = None,
    precision: Precision_ = "bfloat16",
    trust_remote_code: Remote = False,
    markdown: Markdown = None,
    as_json: AsJson = False,
) -> None:
    """Calibrate twice, and once more under load: do the intervals hold, and do the parts explain real rounds?"""
    from calibrate.artifact import write_whole
    from calibrate.prompts import choose_prompts
    from calibrate.run import EFFORTS
    from engine.drafts.default_drafts import choose_models
    from reports.bench.calibration_benchmark import markdown as describe
    from reports.bench.calibration_benchmark import measure, with_few_texts

    effort = with_few_texts(EFFORTS["quick" if quick else "default"])
    models = choose_models(target, draft_model, _precision(precision), trust_remote_code, ngrams, deepen)
    with stages() as show:
        found = measure(*models, choose_prompts(None, "calibration", effort.prompts), effort, out, show)
    text = describe(found, " ".join(["specbranch", *sys.argv[1:]]))
    if markdown:
        write_whole(markdown, text.encode())
    print(found.model_dump_json() if as_json else text)


@verb("schema", "specbranch schema > scenario.schema.json")
def schema() -> None:
    """Print the JSON Schema of scenario files, for editors."""
    from scenarios.json_schema import schema_text

    print(schema_text(), end="")


@verb("inspect", "specbranch inspect", "specbranch inspect runs/plain/calibration --json")
def inspect(
    folder: Annotated[
        Path,
        typer.Argument(
            help=f"a calibration, as 'calibrate' wrote it, or '{SHIPPED}': the one that comes along",
            callback=_calibration,
        ),
    ] = CALIBRATION,
    as_json: AsJson = False,
) -> None:
    """Print what a calibration holds."""
    from calibrate.artifact import load_artifact

    print_calibration(load_artifact(folder), as_json)


@verb(
    "simulate",
    "specbranch simulate default",
    "specbranch simulate scenarios/draft-length.yaml --calibration runs/calibration --table runs/lengths.csv",
)
def simulate(
    scenario: Annotated[
        Path | None,
        typer.Argument(
            help="a scenario file, or the name of one that comes along, such as 'default'",
            autocompletion=_shipped_scenarios,
        ),
    ] = None,
    calibration: SomeCalibration = None,
    against: Annotated[
        Path | None,
        typer.Option(help="in place of a scenario, what 'verify' wrote: split its errors in parts"),
    ] = None,
    trace: TraceFile = None,
    table: Table = None,
    jobs: Jobs = None,
    backend: Backend = "loky",
    address: Address = None,
    wide: Wide = False,
    as_json: AsJson = False,
) -> None:
    """Replay a scenario's configurations and compare them.

    With --table, outcomes that the file holds already are left as they are, and the others are added to it. The events
    that --trace writes are those of the first configuration on the first text.
    """
    if against:
        if scenario:
            raise ConfigurationError("--against takes the place of a scenario; give one of them.")
        if trace:
            raise ConfigurationError(
                "--trace goes with a scenario; 'specbranch trace' writes a record's runs."
            )
        print_error_parts(against, as_json)
        return
    if scenario is None:
        raise ConfigurationError(
            f"name a scenario file, one that comes along ({', '.join(_shipped_scenarios())}), or --against a record."
        )
    from pydantic import TypeAdapter

    from engine.naming import in_words
    from reports.tables import console, print_outcomes
    from scenarios.calibrations import open_calibration
    from scenarios.schema import load_scenarios
    from scenarios.shipped import find_scenario
    from sim.search.backends import backend as running_on
    from sim.sweeps.run import Outcome, first_run
    from sim.sweeps.tabled import Tabled

    scenarios = load_scenarios(find_scenario(scenario))
    first = scenarios[0]
    artifact = None if first.stated else open_calibration(calibration, first.calibration)
    tabled = Tabled.open(table, artifact)
    left = [tabled.left(loaded) for loaded in scenarios]
    documents = []
    with progress(sum(left)) as advance, running_on(backend, address):
        for loaded in scenarios:
            outcomes = tabled.sweep(loaded, jobs, lambda outcome: advance(in_words(outcome.configuration)))
            documents.append((loaded, outcomes))
    held = sum(loaded.outcomes for loaded in scenarios) - sum(left)
    if held:
        print(f"specbranch: {table} held {held} outcomes already; they are not shown again.", file=sys.stderr)
    if trace:
        from reports.chrome_trace import save_trace

        configuration, run = first_run(first, artifact)
        save_trace(trace, [run], {"configuration": configuration.label()})
    if as_json:
        dump = TypeAdapter(list[Outcome]).dump_python
        written = [
            {"scenario": loaded.model_dump(mode="json"), "outcomes": dump(outcomes, mode="json")}
            for loaded, outcomes in documents
        ]
        print(json.dumps(written[0] if len(written) == 1 else {"scenarios": written}))
        return
    for loaded, outcomes in documents:
        print_outcomes(console(wide), loaded, artifact, outcomes, wide)


@verb("tune", "specbranch tune", "specbranch tune --for vllm --out runs/vllm.yaml")
def tune(
    calibration: Annotated[
        Path,
        typer.Option(
            "--calibration", help=f"the calibration's folder, or '{SHIPPED}'", callback=_calibration
        ),
    ] = CALIBRATION,
    out: Annotated[Path, typer.Option(help="the configuration file to write", callback=_output_file)] = TUNED,
    objective: Annotated[
        str,
        typer.Option(
            help="tokens-per-second, tokens-per-device-second or p95-token-seconds",
            autocompletion=_one_of(*OBJECTIVES),
        ),
    ] = "tokens-per-second",
    rollback_rate: Annotated[
        float | None, typer.Option("--max-rollback-rate", min=0, max=1, help="of the followed line's tokens")
    ] = None,
    hedge_rate: Annotated[
        float | None, typer.Option("--max-hedge-rate", min=0, max=1, help="of all drafted tokens")
    ] = None,
    devices: Annotated[
        int | None, typer.Option("--max-devices", min=1, help="cores or devices occupied")
    ] = None,
    temperature: Annotated[
        float, typer.Option(min=0.0, help="0: greedy texts; else that of the calibration's drawn texts")
    ] = 0.0,
    system: Annotated[
        str | None,
        typer.Option(
            "--for",
            help="search only what this runs: vllm, sglang or transformers; none: everything",
            autocompletion=_one_of(*SYSTEMS),
        ),
    ] = None,
    listed: Annotated[
        int, typer.Option("--configurations", min=1, help="how many 'verify' is to run in all, if not more")
    ] = 6,
    seed: Seed = 0,
    table: Table = None,
    jobs: Jobs = None,
    backend: Backend = "loky",
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Search the configurations and write the best one, with its rivals, for 'verify'."""
    from calibrate.artifact import load_artifact
    from reports.tables import console, print_tuned
    from scenarios.what_if import WhatIf
    from sim.search.backends import backend as running_on
    from sim.search.exports import find_system, restriction
    from sim.search.objectives import OBJECTIVES as KNOWN
    from sim.search.objectives import Bounds
    from sim.search.tune import tune as search
    from sim.search.tuned import TunedConfiguration, save_tuned
    from sim.sweeps.results import merge, read_table, rows_of, write_table

    if objective not in KNOWN:
        raise ConfigurationError(f"there is no objective '{objective}': {', '.join(KNOWN)}.")
    if system:
        find_system(system)
    artifact = load_artifact(calibration)
    rows = read_table(table) if table else []
    drafts = {name: record.spec for name, record in artifact.calibration.drafts.items()}
    with stages() as show, running_on(backend, address):
        found = search(
            artifact,
            objective=objective,
            bounds=Bounds(rollback_rate=rollback_rate, hedge_rate=hedge_rate, devices=devices),
            what_if=WhatIf(temperature=temperature),
            only=restriction(system, drafts, temperature) if system else None,
            seed=seed,
            listed=listed,
            jobs=jobs,
            progress=lambda done, total: show("replaying the grid", done, total),
        )
    tuned = TunedConfiguration.of(
        found, calibration, artifact.digest, drafts, artifact.calibration.target.spec.deepen
    )
    save_tuned(out, tuned)
    if table:
        write_table(table, merge([rows, list(rows_of(artifact.digest, found))]))
    if as_json:
        print(tuned.model_dump_json())
        return
    print_tuned(console(), found)
    print(f"written to {out}")


@verb("map", "specbranch map", "specbranch map --points runs/verification.json --out runs/mine.html")
def map_regimes(
    calibration: SomeCalibration = None,
    out: Annotated[Path, typer.Option(help="the page to write", callback=_output_file)] = MAP,
    draft: Annotated[
        str | None, typer.Option(help="whose costs every cell has; none: the draft with the cheapest step")
    ] = None,
    points: Annotated[
        list[Path] | None,
        typer.Option(
            "--points", help="a record of 'verify' to draw on it; repeat it, or name several behind it"
        ),
    ] = None,
    more: Annotated[
        list[Path] | None, typer.Argument(help="further records to draw", show_default=False)
    ] = None,
    count: Annotated[
        int, typer.Option("--prompts", min=2, help="of the calibration's, on which every cell is simulated")
    ] = 18,
    seed: Seed = 0,
    jobs: Jobs = None,
    backend: Backend = "loky",
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Map which method wins, over the ratio of the models' steps and the draft's alignment; write a page.

    Everything is simulated from one calibration, but for the points, which 'verify' measured.
    """
    from calibrate.artifact import load_artifact
    from reports.map.claims import Row, settled
    from reports.map.regime_page import document, write_map
    from reports.map.regime_points import MapPoint, read_records
    from reports.map.regime_tables import print_map
    from reports.tables import console
    from scenarios.calibrations import find_calibration
    from sim.search.backends import backend as running_on
    from sim.search.regime_map import regime_map

    measured: list[MapPoint] = []
    claims: list[Row] = []
    # Before the work, should one not be readable.
    for record, replay, mine in read_records([*(points or ()), *(more or ())]):
        measured += mine
        claims += settled(record, mine, replay)
    folder = find_calibration(calibration)
    with stages() as show, running_on(backend, address):
        found = regime_map(
            load_artifact(folder),
            str(folder),
            draft,
            prompts=count,
            seed=seed,
            jobs=jobs,
            progress=lambda done, total: show("simulating the map", done, total),
        )
    write_map(found, measured, out, claims)
    if as_json:
        print(json.dumps(document(found, measured, claims)))
        return
    print_map(console(), found, measured, claims)
    print(f"written to {out}")


@verb("merge", "specbranch merge A.csv B.csv --out C.csv")
def merge_tables(
    tables: Annotated[list[Path], typer.Argument(help="tables that 'simulate' or 'tune' wrote")],
    out: Annotated[Path, typer.Option(help="the table to write", callback=_output_file)],
) -> None:
    """Unite tables of simulated outcomes; refuses rows of one key that disagree."""
    from sim.sweeps.results import merge, read_table, write_table

    for table in tables:
        if not table.exists():
            raise ConfigurationError(
                f"there is no table {table}; 'specbranch simulate' and 'specbranch tune' write one with --table."
            )
    rows = merge(read_table(table) for table in tables)
    write_table(out, rows)
    print(f"{out}: {len(rows)} outcomes")


@verb("export", "specbranch export --to vllm")
def export_configuration(
    config: Annotated[Path, typer.Argument(help="what 'tune' wrote")] = TUNED,
    system: Annotated[
        str | None,
        typer.Option(
            "--to",
            help="vllm, sglang or transformers; none: what was tuned for, or vllm",
            autocompletion=_one_of(*SYSTEMS),
        ),
    ] = None,
    draft_model: Annotated[
        str | None, typer.Option("--draft-model", help="the draft's name or folder there")
    ] = None,
    nearest: Annotated[
        bool, typer.Option("--nearest", help="accept the nearest method, where it lacks the chosen one")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print the chosen configuration for another system, as flags or as JSON."""
    from dataclasses import asdict

    from sim.search.exports import export
    from sim.search.tuned import chosen_depth, load_tuned

    tuned = load_tuned(config)
    if (chosen_depth(tuned) or 1) > 1:
        print(
            f"specbranch: the choice was made for a target deepened {chosen_depth(tuned)} times (--deepen), which no "
            "other system runs.",
            file=sys.stderr,
        )
    system = system or tuned.system or "vllm"
    made = export(tuned.chosen, system, draft_model, tuned.what_if.temperature, tuned.chosen_draft)
    for warning in made.warnings:
        print(f"specbranch: {system}: {warning}.", file=sys.stderr)
    if not made.exact and not nearest:
        raise ConfigurationError(
            f"{system} does not do just what was simulated; 'specbranch tune --for {system}' chooses among what it "
            "does, and --nearest exports what is nearest."
        )
    print(json.dumps(asdict(made)) if as_json else made.text)


@verb(
    "verify",
    "specbranch verify",
    "specbranch verify runs/tuned.yaml --prompts 24 --max-tokens 48 --minutes 5",
)
def verify(
    config: Annotated[Path, typer.Argument(help="what 'tune' wrote")] = TUNED,
    out: Annotated[
        Path | None,
        typer.Option(
            help=f"the record to write; none: {VERIFICATION}, or {SETTLEMENT}", callback=_output_file
        ),
    ] = None,
    settling: Annotated[
        bool,
        typer.Option(
            "--settle", help="put the published claims to the test: each method at its best with fixed drafts"
        ),
    ] = False,
    again: Again = False,
    own: OwnPrompts = None,
    count: Annotated[
        int,
        typer.Option(
            "--prompts",
            min=2,
            help="how many held-out prompts at most; the built-in ones are of six kinds, in turn",
        ),
    ] = 24,
    minutes: Annotated[
        float, typer.Option(min=0.1, help="of runs at most; it ends before where every criterion is decided")
    ] = 10.0,
    max_tokens: Annotated[
        int | None, typer.Option(min=2, help="of each text; none: 96, or as many as the calibration's have")
    ] = None,
    repeats: Annotated[
        int, typer.Option("--times", min=1, help="how often each configuration runs on each prompt")
    ] = 1,
    tolerance: Annotated[
        str | None,
        typer.Option(help="share within which nine in ten errors must lie, or a YAML file of all bounds"),
    ] = None,
    seed: Seed = 0,
    wide: Wide = False,
    as_json: AsJson = False,
) -> None:
    """Run the chosen configuration and its rivals on prompts that calibration did not see; compare.

    Looks planned beforehand, at a quarter of the prompts, a half, three quarters and all, end it where every criterion
    is decided. The exit code is 0 where the model kept to the tolerance at the machine's speed, 4 where it did not, and
    3 where that stayed open; whether the forecast was right, made before that speed was known, is told beside it. With
    --settle it is 0 whichever way the claims fall.
    """
    from calibrate.artifact import HRAD_FOLDER, load_artifact, save_artifact
    from calibrate.prompts import choose_prompts
    from engine.runtime.pair import find_predictors, open_pair
    from reports.tables import console, print_fidelity, verified_summary, verified_table
    from reports.verify.fidelity import EXIT_CODES, judge
    from reports.verify.looks import LOOKS
    from reports.verify.run import Plan, count_steps, is_verified, longest_text
    from reports.verify.run import verify as run
    from reports.verify.settle import choose_drafts, contestants, settle, settled_lines
    from reports.verify.tolerance import read_tolerance
    from reports.verify.verification import load_verification, replay_folder, save_verification
    from sim.search.tuned import load_tuned

    tuned = load_tuned(config)
    artifact = load_artifact(tuned.calibration)
    chosen = choose_prompts(own, "heldout", count)
    plan = Plan(
        max_tokens or min(96, longest_text(artifact, tuned)),
        repeats,
        seed,
        read_tolerance(tolerance),
        choose_drafts(artifact) if settling else None,
        1 if settling else LOOKS,  # a claim is decided by all prompts
        minutes,
    )
    if plan.settling:
        with stages() as show:
            tuned = contestants(
                artifact,
                tuned.calibration,
                plan.settling,
                seed,
                progress=lambda done, total: show("replaying the grid", done, total),
            )
    out = out or (SETTLEMENT if settling else VERIFICATION)
    verification = load_verification(out) if out.exists() and not again else None
    if verification and is_verified(verification, tuned, chosen, plan):
        print(f"{out} holds just this already; --again runs it anew.", file=sys.stderr)
    else:
        target = artifact.calibration.target.spec
        drafts = {name: record.spec for name, record in artifact.calibration.drafts.items()}
        predictors = find_predictors(tuned.calibration / HRAD_FOLDER, drafts)
        with (
            open_pair(target, drafts, predictors) as (pair, tokenizer),
            progress(count_steps(artifact, tuned, chosen, plan)) as advance,
        ):
            verification, replay = run(pair, tokenizer, artifact, tuned, chosen, plan, advance)
        save_artifact(replay_folder(out), replay)
        save_verification(out, verification)
    found, settled = judge(verification), settle(verification)
    if as_json:
        document = json.loads(verification.model_dump_json())
        document["fidelity"] = json.loads(found.model_dump_json())
        if settled:
            document["settlement"] = json.loads(settled.model_dump_json())
        print(json.dumps(document))
    else:
        shown = console(wide)
        shown.print(verified_table(verification, wide))
        shown.print(verified_summary(verification), highlight=False)
        print_fidelity(shown, found, verification)
        for line in settled_lines(settled) if settled else ():
            shown.print(line, highlight=False)
        shown.print(f"written to {out}", highlight=False)
    raise typer.Exit(0 if settled else EXIT_CODES[found.verdict])


@verb("report", "specbranch report", "specbranch report runs/settlement.json --out runs/settlement.html")
def report(
    record: Annotated[Path, typer.Argument(help="what 'verify' wrote")] = VERIFICATION,
    out: Annotated[Path, typer.Option(help="the page to write", callback=_output_file)] = PAGE,
) -> None:
    """Write one self-contained interactive page of a verification."""
    from calibrate.artifact import load_artifact
    from engine.errors import CalibrationError
    from reports.page.report import write_page
    from reports.verify.error_budget import split_error
    from reports.verify.paired_runs import open_replay
    from reports.verify.verification import load_verification
    from sim.acceptance.temperature import at_temperature

    verification = load_verification(record)
    try:
        artifact = at_temperature(load_artifact(Path(verification.calibration)), verification.temperature)
    except CalibrationError as error:
        print(f"specbranch: the page lacks the costs' charts: {error}", file=sys.stderr)
        artifact = None
    try:
        budget = split_error(verification, open_replay(record))
    except SpecBranchError as error:
        print(f"specbranch: the page lacks the error's parts: {error}", file=sys.stderr)
        budget = None
    write_page(verification, out, artifact, budget)
    print(out)


@verb("compare", "specbranch compare runs/before.json runs/verification.json --out runs/compared.html")
def compare(
    records: Annotated[
        list[Path], typer.Argument(help="two or more of what 'verify' wrote; the first is compared with")
    ],
    out: Annotated[Path | None, typer.Option(help="also write a page", callback=_output_file)] = None,
    wide: Wide = False,
    as_json: AsJson = False,
) -> None:
    """Compare verifications: paired differences, and a warning for each condition that is not the same."""
    from pydantic import TypeAdapter

    from reports.compare.compare_page import write_comparison
    from reports.compare.compare_tables import print_comparisons
    from reports.compare.pairing import Comparison
    from reports.compare.pairing import compare as pair_up
    from reports.tables import console
    from reports.verify.verification import load_verification

    if len(records) < 2:
        raise ConfigurationError("comparing takes two records or more.")
    found = pair_up([load_verification(record) for record in records], [str(record) for record in records])
    if out:
        write_comparison(found, out)
    if as_json:
        print(TypeAdapter(tuple[Comparison, ...]).dump_json(found).decode())
        return
    print_comparisons(console(wide), found, wide)


@verb("trace", "specbranch trace", "specbranch trace --prompt 2 --world engine --out runs/engine.json")
def trace(
    record: Annotated[Path, typer.Argument(help="what 'verify' wrote")] = VERIFICATION,
    out: Annotated[Path, typer.Option(help="the file to write", callback=_output_file)] = Path(
        "runs/trace.json"
    ),
    configuration: Annotated[
        str | None, typer.Option(help="its number in the record, or its label; none: that of the timeline")
    ] = None,
    prompt: Annotated[int, typer.Option(min=0, help="its number in the record")] = 0,
    world: Annotated[
        str,
        typer.Option(help="engine, simulator or both", autocompletion=_one_of("engine", "simulator", "both")),
    ] = "both",
) -> None:
    """Write a real and a simulated generation as one Chrome trace, which Perfetto opens."""
    from typing import get_args

    from reports.chrome_trace import save_trace
    from reports.verify.paired_runs import World, find_runs
    from reports.verify.verification import load_verification

    if world not in (*get_args(World), "both"):
        raise ConfigurationError(f"there is no world '{world}': engine, simulator or both.")
    worlds = get_args(World) if world == "both" else (world,)
    verification = load_verification(record)
    about = {"record": str(record)}
    if verification.remarks:
        about["remarks"] = "; ".join(verification.remarks)
    save_trace(out, find_runs(record, verification, configuration, prompt, worlds), about)
    print(out)


@verb("bench", "specbranch bench --quick", "specbranch bench --show runs/bench.json")
def bench(
    out: Annotated[Path, typer.Option(help="the record to write", callback=_output_file)] = BENCHMARK,
    quick: Quick = False,
    full: Full = False,
    memory: Annotated[bool, typer.Option("--memory", help="the caches' memory alone, in seconds")] = False,
    shown: Annotated[
        Path | None, typer.Option("--show", help="run nothing: the tables of an earlier record")
    ] = None,
    own: OwnPrompts = None,
    hrad_networks: HradNetworks = HRAD,
    target: Target = None,
    deepen: Deepen = 1,
    draft_model: DraftModel = None,
    ngrams: NGrams = None,
    precision: Precision_ = "bfloat16",
    trust_remote_code: Remote = False,
    seed: Seed = 0,
    markdown: Markdown = None,
    as_json: AsJson = False,
) -> None:
    """Compare every policy at its best setting with transformers, on the same cores, in one interleaved run.

    Interrupted, it resumes.
    """
    from calibrate.prompts import choose_prompts
    from engine.drafts.default_drafts import choose_models
    from engine.runtime.pair import find_predictors, open_pair
    from reports.bench.benchmark import bench as run
    from reports.bench.benchmark import count_steps
    from reports.bench.benchmark_effort import EFFORTS, Prompts
    from reports.bench.benchmark_record import load_benchmark
    from reports.bench.benchmark_tables import print_benchmark, print_memory, write_markdown
    from reports.bench.cache_memory import measure_memory
    from reports.tables import console

    models = choose_models(target, draft_model, _precision(precision), trust_remote_code, ngrams, deepen)
    if memory:
        with open_pair(*models) as (pair, _):
            print_memory(console(), measure_memory(pair, list(pair.drafts)[-1]))
        return
    if shown:
        benchmark = load_benchmark(shown)
    else:
        effort = EFFORTS["quick" if quick else "full" if full else "default"]
        prompts = Prompts(
            choose_prompts(own, "calibration", effort.first + effort.more),
            choose_prompts(own, "heldout", max(effort.prompts.values())),
        )
        with (
            open_pair(*models, find_predictors(hrad_networks, models[1])) as (pair, tokenizer),
            progress(count_steps(pair, effort, prompts)) as advance,
        ):
            benchmark = run(
                pair,
                tokenizer,
                prompts,
                effort,
                out,
                command=" ".join(["specbranch", *sys.argv[1:]]),
                seed=seed,
                advance=advance,
            )
    if markdown:
        write_markdown(markdown, benchmark)
    if as_json:
        print(benchmark.model_dump_json())
        return
    print_benchmark(console(), benchmark)


@verb("bench-sim", "specbranch bench-sim --quick")
def bench_sim(
    calibration: Annotated[
        Path | None,
        typer.Option(
            "--calibration",
            help="the calibration's folder; none: the one that comes along",
            callback=_calibration,
        ),
    ] = None,
    quick: Quick = False,
    markdown: Markdown = None,
    as_json: AsJson = False,
) -> None:
    """How fast the simulator starts and replays, by policy, and how that grows."""
    from calibrate.artifact import load_artifact, write_whole
    from reports.bench.sim_benchmark import measure
    from reports.bench.sim_benchmark_tables import markdown as describe
    from scenarios.shipped import REFERENCE

    command = " ".join(["specbranch bench-sim", *(["--quick"] if quick else [])])
    artifact = load_artifact(calibration or REFERENCE)
    with stages() as show:
        found = measure(artifact, command, show, quick)
    text = describe(found)
    if markdown:
        write_whole(markdown, text.encode())
    print(found.model_dump_json() if as_json else text)


@verb("distill", "specbranch distill --out runs/distilled.safetensors")
def distill(
    out: Annotated[
        Path | None,
        typer.Option(help="the file to write; none: the carried one is replaced", callback=_output_file),
    ] = None,
    threads: Threads = 2,
    as_json: AsJson = False,
) -> None:
    """Make the default pair's small draft again: prune the target and distil it on text it writes itself.

    It takes two hours of one free core; interrupted, it resumes.
    """
    from dataclasses import asdict

    from engine.drafts.default_drafts import DISTILLED
    from engine.drafts.default_pair import default_target
    from engine.drafts.distill import distill as make
    from engine.paths import cache_folder

    with stages() as show:
        made = make(
            default_target(),
            out or DISTILLED,
            cache=cache_folder() / "distill",
            threads=threads,
            progress=show,
        )
    if as_json:
        print(json.dumps(asdict(made), default=str))
        return
    print(f"{made.path}: {made.steps} steps over {made.text_tokens} tokens of text")
    for kind, seen in {"all": made.held_out, **made.by_kind}.items():
        print(
            f"{kind}: the target's token is the draft's first at {seen.top1:.1%}, in its first two at {seen.top2:.1%}, "
            f"four at {seen.top4:.1%} of {seen.positions} positions on {seen.prompts} held-out prompts; "
            f"sum of min(p, q) {seen.overlap:.2f}"
        )


@verb("count-ngrams", "specbranch count-ngrams --target models/mine --out runs/ngrams.safetensors")
def count_ngrams(
    out: Annotated[
        Path | None,
        typer.Option(help="the file to write; none: the carried one is replaced", callback=_output_file),
    ] = None,
    target: Annotated[
        Path | None, typer.Option(help="a target model's folder; none: the default pair's")
    ] = None,
    prompts: Annotated[int, typer.Option(min=1, help="how many prompts the target answers")] = 4096,
    threads: Threads = 2,
    as_json: AsJson = False,
) -> None:
    """Count what a target usually writes behind one and two tokens, for drafts to guess by.

    It takes a quarter of an hour with the default pair; interrupted, it resumes.
    """
    from dataclasses import asdict

    from engine.drafts.default_drafts import NGRAMS
    from engine.drafts.default_pair import default_target
    from engine.drafts.ngram_counting import count_of_target
    from engine.drafts.self_written import TextPlan
    from engine.paths import cache_folder

    if target and not out:
        raise ConfigurationError("say by --out where the n-grams of another target go.")
    if target:
        check_input_folder(target, "a target model")
        check_model(str(target))
    with stages() as show:
        counted = count_of_target(
            target or default_target(),
            out or NGRAMS,
            cache=cache_folder() / "distill",
            plan=TextPlan(prompts=prompts),
            threads=threads,
            progress=show,
        )
    if as_json:
        print(json.dumps(asdict(counted), default=str))
        return
    print(
        f"{counted.path}: {counted.ngrams} n-grams of {counted.text_tokens} tokens of text; on held-out prompts they "
        f"guess at {counted.guessed / counted.positions:.1%} of {counted.positions} positions, rightly at "
        f"{counted.right / counted.positions:.1%}"
    )


@verb("train-hrad", "specbranch train-hrad --count 24")
def train_hrad(
    out: Annotated[
        Path, typer.Option(help="the folder to write a network for each draft to", callback=_output_folder)
    ] = HRAD,
    own: OwnPrompts = None,
    count: Annotated[int, typer.Option(min=3, help="how many prompts, at most")] = 72,
    max_tokens: Annotated[int, typer.Option(min=2, help="of the target's text on each")] = 192,
    target: Target = None,
    draft_model: DraftModel = None,
    ngrams: NGrams = None,
    precision: Precision_ = "bfloat16",
    trust_remote_code: Remote = False,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Train H-RAD for each draft: to foresee, from what the target knows, how the draft's next tokens will fare."""
    from pydantic import TypeAdapter

    from calibrate.prompts import choose_prompts
    from calibrate.traces.hrad_examples import unseen_prompts
    from calibrate.traces.hrad_quality import describe
    from calibrate.traces.hrad_run import Trained, train
    from engine.drafts.default_drafts import choose_models
    from engine.runtime.pair import open_pair

    chosen = choose_prompts(own, "calibration", count) if own else unseen_prompts(count)
    models = choose_models(target, draft_model, _precision(precision), trust_remote_code, ngrams)
    with open_pair(*models) as (pair, tokenizer), stages() as show:
        trained = train(pair, tokenizer, chosen, max_tokens, out, seed=seed, show=show)
    if as_json:
        print(TypeAdapter(list[Trained]).dump_json(trained).decode())
        return
    for one in trained:
        for found in one.quality:
            print("\n".join(describe(one.draft, found)))
        print(f"written to {one.path}")


@verb(
    "hardware-check",
    "specbranch hardware-check",
    "specbranch hardware-check --cpu --layers 2 --width 256 --heads 4",
)
def hardware_check(
    out: Annotated[Path, typer.Option(help="the JSON file to write", callback=_output_file)] = Path(
        "runs/hardware-check.json"
    ),
    layers: Annotated[int, typer.Option(min=1, help="of the random target")] = 24,
    width: Annotated[int, typer.Option(min=64, help="hidden size of the random target")] = 2048,
    heads: Annotated[int, typer.Option(min=1, help="attention heads of the random target")] = 16,
    default_pair: Annotated[
        bool, typer.Option("--default-pair", help="check with the default pair instead")
    ] = False,
    deepen: Deepen = 1,
    cpu: Annotated[bool, typer.Option("--cpu", help="run even though there is no CUDA device")] = False,
) -> None:
    """Check exactness, calibrate, tune, verify and race transformers on this machine's GPUs; one JSON file."""
    from calibrate.prompts import Prompt, builtin_prompts
    from engine.drafts.default_drafts import choose_models
    from engine.drafts.random_pair import make_random_pair
    from engine.paths import cache_folder
    from engine.runtime.placement import cuda_devices
    from reports.bench.hardware_check import EFFORT, check

    if not cuda_devices() and not cpu:
        raise SpecBranchError("there is no CUDA device here; --cpu runs the check on this machine's cores.")
    count = 2 * EFFORT.prompts
    if default_pair:
        target, drafts = choose_models(None, None, "bfloat16", deepen=deepen)
        prompts = builtin_prompts("calibration", EFFORT.prompts) + builtin_prompts("heldout", EFFORT.prompts)
    else:
        folder = cache_folder() / f"random-pair-{layers}x{width}x{heads}"
        source, small = map(str, make_random_pair(folder, layers=layers, width=width, heads=heads))
        target, rounded = choose_models(source, None, "bfloat16", deepen=deepen)
        # On a GPU int8 saves nothing (docs/gpu.md).
        drafts = {"small": target.model_copy(update={"source": small, "deepen": 1}), "int4": rounded["int4"]}
        texts = [" ".join(f"w{5 + (17 * i + 7 * j * j) % 997}" for j in range(24)) for i in range(count)]
        prompts = tuple(Prompt(f"words-{i}", "words", "check", text) for i, text in enumerate(texts))
    record = check(target, drafts, prompts, out, lambda line: print(line, file=sys.stderr))
    print(f"{out}: {record['seconds']:.0f} s")


def main() -> None:
    """Run a verb; a user's error is one sentence on stderr and exit code 1."""
    try:
        app()
    except SpecBranchError as error:
        print(f"specbranch: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
