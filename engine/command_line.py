"""What all verbs share: options that several take, checked paths, and bars. Only the `cli.py` of each part uses it.

Torch-free, and quick to import: whatever a verb needs it imports when it runs.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from engine.errors import ConfigurationError
from engine.paths import check_input_folder, check_output_file, check_output_folder

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from engine.configuration import Configuration
    from engine.models.specs import Precision

Verb = TypeVar("Verb", bound=Callable[..., None])

PAIR, WHERE = "The pair", "Where it is computed"  # headings of options that several verbs share
CALIBRATION = Path("runs/calibration")
TUNED = Path("runs/tuned.yaml")
SCHEDULE = Path("runs/schedule.yaml")
VERIFICATION = Path("runs/verification.json")
SETTLEMENT = Path("runs/settlement.json")
PAGE = Path("runs/report.html")
MAP = Path("runs/map.html")
BENCHMARK = Path("runs/bench.json")
CALIBRATION_BENCHMARK = Path("runs/bench-calibration")
HRAD = Path("runs/hrad")
POLICIES = (
    "autoregressive",
    "prompt-lookup",
    "speculative",
    "adaedl",
    "pearl",
    "specbranch",
    "tree",
    "length-by-load",
    "echo",
)
SYSTEMS = ("vllm", "sglang", "transformers")
OBJECTIVES = ("tokens-per-second", "tokens-per-device-second", "p95-token-seconds")
SHIPPED = "reference"  # names the calibration that comes along


def verb(app: typer.Typer, name: str, *examples: str) -> Callable[[Verb], Verb]:
    """The decorator of a verb, whose help ends with examples that a test parses."""
    return app.command(name, epilog="\n\n".join(("For example:", *examples)))


def input_folder(context: typer.Context, parameter: typer.CallbackParam, given: Path) -> Path:
    """A folder that was named has to be there; the one that is taken where none was named need not."""
    source = context.get_parameter_source(str(parameter.name))
    if source is not None and source.name != "DEFAULT":
        check_input_folder(given, "H-RAD's networks ('specbranch train-hrad' writes them)")
    return given


def calibration_folder(given: Path | None) -> Path | None:
    """A calibration's folder; the one that comes along goes by its name, where no folder has it."""
    if given == Path(SHIPPED) and not given.exists():
        from scenarios.shipped import REFERENCE

        return REFERENCE
    return given


def shipped_scenarios(incomplete: str = "") -> list[str]:
    """The scenarios that come along and whose names begin so."""
    from scenarios.shipped import scenario_names

    return [name for name in scenario_names() if name.startswith(incomplete)]


def one_of(*words: str) -> Callable[[str], list[str]]:
    """What a shell offers for an option that takes one of these words."""
    return lambda incomplete: [word for word in words if word.startswith(incomplete)]


def output_file(given: Path | None) -> Path | None:
    """Said before work begins that could not be written down."""
    if given:
        check_output_file(given)
    return given


def output_folder(given: Path) -> Path:
    check_output_folder(given)
    return given


# What several verbs take, each once and in the order in which they take it.
SomeCalibration = Annotated[
    Path | None,
    typer.Option(
        "--calibration",
        help=f"the calibration's folder, or '{SHIPPED}'; none: {CALIBRATION}, or else '{SHIPPED}'",
        callback=calibration_folder,
    ),
]
CostsFrom = Annotated[
    Path | None,
    typer.Option(
        help=f"another calibration's folder, or '{SHIPPED}', whose costs take the place of its own",
        callback=calibration_folder,
    ),
]
Quick = Annotated[bool, typer.Option("--quick", help="sooner done and less sure: fewer prompts and samples")]
Full = Annotated[bool, typer.Option("--full", help="longer and surer: more prompts, samples and tokens")]
Again = Annotated[bool, typer.Option("--again", help="do it anew, even if what is asked for is there")]
OwnPrompts = Annotated[
    Path | None, typer.Option("--own-prompts", help="your own prompts, JSONL; none: the built-in ones")
]
HradNetworks = Annotated[Path, typer.Option(help="where H-RAD's networks are", callback=input_folder)]
# Of a policy, as `generate` and `serve-bench` take it; `configuration_of` makes a configuration of them.
Policy = Annotated[str, typer.Option("--policy", help=", ".join(POLICIES), autocompletion=one_of(*POLICIES))]
DraftName = Annotated[
    str | None, typer.Option("--draft", help="a draft of the default pair: int8, int4, distilled")
]
DraftLength = Annotated[int, typer.Option("--draft-length", help="draft forwards in a round")]
Branches = Annotated[int, typer.Option("--branches", help="branches opened at once, at most")]
MinConfidence = Annotated[
    float, typer.Option("--min-confidence", help="cut a draft before a token that it gives less")
]
DrawDrafts = Annotated[
    bool, typer.Option("--draw-drafts", help="draw draft tokens, where there is a temperature")
]
Hrad = Annotated[bool, typer.Option("--hrad", help="cut drafts as H-RAD predicts (see 'train-hrad')")]
Redraft = Annotated[bool, typer.Option("--redraft", help="SpecBranch: after a rejection draft a line first")]
Guesses = Annotated[
    int,
    typer.Option("--guesses", help="tokens of repetitions and n-grams that a draft forward checks, at most"),
]
Repeats = Annotated[
    int, typer.Option("--repeats", help="lengthen lines up to so many by the text's repetitions")
]
SecondUnder = Annotated[
    float,
    typer.Option(
        "--second-under", help="the target judges the draft's second choice, too, where its first has less"
    ),
]
TreeNodes = Annotated[int, typer.Option("--tree-nodes", help="tree: nodes that are drafted, at most")]
RankAcceptance = Annotated[
    str,
    typer.Option(
        "--rank-acceptance",
        help="tree: shares at which the target's token is the draft's first candidate, second, ...",
    ),
]
LengthsByLoad = Annotated[
    str,
    typer.Option(
        "--lengths-by-load",
        help="length-by-load: draft lengths by how many requests run, such as 1-4:4/5-12:2/13-:0",
    ),
]
Gates = Annotated[
    str,
    typer.Option("--gates", help="echo: depths, and the share that a draft has to give its line to go on"),
]
TreeWidth = Annotated[
    int, typer.Option("--tree-width", help="echo: candidates where a draft stopped, at most")
]
BatchNodes = Annotated[
    int, typer.Option("--batch-nodes", help="echo: nodes of all requests that a forward judges, at most")
]
Placed = Annotated[
    str,
    typer.Option(
        "--placement",
        help="at-once, in-turn or threads",
        autocompletion=one_of("at-once", "in-turn", "threads"),
    ),
]
TunedFile = Annotated[
    Path | None, typer.Option("--config", help="what 'tune' wrote; it replaces the options above")
]
Temperature = Annotated[float, typer.Option("--temperature", min=0.0, max=10.0, help="0: greedy")]
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
        autocompletion=one_of("float32", "bfloat16", "float16"),
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
        "--trace", help="also write the events for Perfetto (Chrome trace format)", callback=output_file
    ),
]
Table = Annotated[
    Path | None,
    typer.Option(
        "--table", help="also write a table, .csv or .parquet, that 'merge' takes", callback=output_file
    ),
]
Markdown = Annotated[
    Path | None, typer.Option("--markdown", help="also write the tables here", callback=output_file)
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
        autocompletion=one_of("loky", "dask", "ray"),
        rich_help_panel=WHERE,
    ),
]
Address = Annotated[
    str | None,
    typer.Option("--backend-address", help="of a Dask or Ray cluster", rich_help_panel=WHERE),
]
PageFile = Annotated[
    Path | None,
    typer.Option(
        "--page", help="also write a page, of requests that are served together", callback=output_file
    ),
]
Users = Annotated[
    str | None,
    typer.Option("--users", help="loads: how many ask again when they have their answer, such as 1,4,16"),
]
Rates = Annotated[
    str | None, typer.Option("--rates", help="loads, in place of users: requests a second, such as 0.5,2")
]
FirstTokenSeconds = Annotated[
    float | None,
    typer.Option(
        "--first-token-seconds", min=1e-9, help="limit of a good request, from arrival to first token"
    ),
]
TokenSeconds = Annotated[
    float | None,
    typer.Option("--token-seconds", min=1e-9, help="limit of a good request, for each further token"),
]
Sequences = Annotated[
    int, typer.Option("--sequences", min=1, help="requests that run at once, at most; others wait")
]
ServingSystem = Annotated[
    str | None,
    typer.Option(
        "--for",
        help="search only what this runs: vllm, sglang or transformers; none: everything",
        autocompletion=one_of(*SYSTEMS),
    ),
]
Wide = Annotated[bool, typer.Option("--wide", help="all columns, and all that there is to show")]
AsJson = Annotated[bool, typer.Option("--json", help="print one JSON document")]


@contextmanager
def bars_shown() -> Iterator["Progress"]:
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
    with bars_shown() as bars:
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
    with bars_shown() as bars:
        task = bars.add_task("starting", total=total)
        yield lambda what: bars.update(task, advance=1, description=what)


def precision_of(value: str) -> "Precision":
    if value not in ("float32", "bfloat16", "float16"):
        raise ConfigurationError(f"there is no precision '{value}': float32, bfloat16 or float16.")
    return value  # type: ignore[return-value]


def configuration_of(config: Path | None, deepen: int, **settings: object) -> "Configuration":
    """What 'tune' wrote to `config` or, without it, the configuration of these settings.

    ConfigurationError, by the option, for a setting that is wrong, and if there is no such policy.
    """
    from pydantic import ValidationError

    from engine.configuration import Configuration
    from engine.policies import load_policy

    if config:
        from sim.search.tuned import load_tuned, other_depth

        tuned = load_tuned(config)
        if other := other_depth(tuned, deepen):
            print(f"specbranch: {other}.", file=sys.stderr)
        configuration = tuned.chosen
    else:
        try:
            configuration = Configuration.model_validate(settings)
        except ValidationError as error:
            first = error.errors()[0]
            raise ConfigurationError(
                f"--{str(first['loc'][0]).replace('_', '-')}: {first['msg']}."
            ) from error
    load_policy(configuration.policy)
    return configuration
