"""The command line: the verbs, nothing else."""

import itertools
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.errors import ConfigurationError, SpecBranchError

if TYPE_CHECKING:
    from engine.models import Precision

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

CALIBRATION = Path("runs/calibration")
TUNED = Path("runs/tuned.yaml")
VERIFICATION = Path("runs/verification.json")
PAGE = Path("runs/report.html")
BENCHMARK = Path("runs/bench.json")
HRAD = Path("runs/hrad")

AsJson = Annotated[bool, typer.Option("--json", help="print one JSON document")]
Target = Annotated[str | None, typer.Option(help="a target model's folder or hub id; none: the default pair")]
DraftModel = Annotated[
    str | None,
    typer.Option("--draft-model", help="a draft model's folder or hub id; none: drafts made of the target"),
]
Precision_ = Annotated[str, typer.Option("--precision", help="the target's: float32, bfloat16 or float16")]
Remote = Annotated[bool, typer.Option("--trust-remote-code", help="run code that comes with the models")]
Seed = Annotated[int, typer.Option(min=0)]


@app.callback()
def specbranch() -> None:
    """Measure, simulate, choose and verify speculative decoding with parallel branches."""


@contextmanager
def stages() -> Iterator[Callable[[str, int, int], None]]:
    """A bar with time left on stderr; the function it gives hears a stage, what is done of it, and its total."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:32.32}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=None)
        yield lambda what, done, total: bar.update(task, completed=done, total=total, description=what)


@contextmanager
def progress(total: int) -> Iterator[Callable[[str], None]]:
    """A bar of `total` steps; the function it gives notes one step and what was done."""
    with stages() as show:
        done = itertools.count(1)
        yield lambda what: show(what, next(done), total)


def _precision(value: str) -> "Precision":
    if value not in ("float32", "bfloat16", "float16"):
        raise ConfigurationError(f"there is no precision '{value}': float32, bfloat16 or float16.")
    return value  # type: ignore[return-value]


@app.command()
def generate(
    prompt: Annotated[str, typer.Argument(help="what to answer")],
    policy: Annotated[
        str, typer.Option(help="autoregressive, prompt-lookup, speculative, adaedl, pearl, specbranch")
    ] = "specbranch",
    draft: Annotated[
        str | None, typer.Option(help="a draft of the default pair: int8, int4, distilled")
    ] = None,
    draft_length: int = 4,
    branches: int = 4,
    min_confidence: float = 0.0,
    draw_drafts: Annotated[
        bool, typer.Option("--draw-drafts", help="draw draft tokens, where there is a temperature")
    ] = False,
    hrad: Annotated[
        bool, typer.Option("--hrad", help="cut drafts as H-RAD foresees (see 'train-hrad')")
    ] = False,
    hrad_networks: Annotated[Path, typer.Option(help="where H-RAD's networks are")] = HRAD,
    placement: Annotated[str, typer.Option(help="at-once, in-turn or threads")] = "at-once",
    config: Annotated[
        Path | None, typer.Option(help="what 'tune' wrote; it replaces the options above")
    ] = None,
    max_tokens: Annotated[int, typer.Option(min=1)] = 128,
    temperature: Annotated[float, typer.Option(min=0.0, max=10.0, help="0: greedy")] = 0.0,
    top_k: Annotated[int | None, typer.Option(min=1)] = None,
    top_p: Annotated[float, typer.Option(min=1e-6, max=1.0)] = 1.0,
    seed: Seed = 0,
    target: Target = None,
    draft_model: DraftModel = None,
    precision: Precision_ = "bfloat16",
    trust_remote_code: Remote = False,
    as_json: AsJson = False,
) -> None:
    """Write an answer with the real engine, streaming, and print what it took."""
    from pydantic import TypeAdapter, ValidationError

    from engine.configuration import Configuration
    from engine.default_drafts import choose_models
    from engine.metrics import measure
    from engine.pair import find_predictors, open_pair
    from engine.policies import load_policy
    from engine.record import Run
    from engine.sampling import Sampling
    from reports.tables import run_summary

    if config:
        from scenarios.tuned import load_tuned

        configuration = load_tuned(config).chosen
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
                placement=placement,  # type: ignore[arg-type]  # checked by the model
            )
        except ValidationError as error:
            first = error.errors()[0]
            raise ConfigurationError(
                f"--{str(first['loc'][0]).replace('_', '-')}: {first['msg']}."
            ) from error
    load_policy(configuration.policy)
    models = choose_models(target, draft_model, _precision(precision), trust_remote_code)
    with open_pair(*models, find_predictors(hrad_networks, models[1])) as (pair, tokenizer):
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
        )
    metrics = measure([run])
    if as_json:
        document = {
            "text": tokenizer.decode(run.tokens),
            "configuration": configuration.model_dump(mode="json"),
            "metrics": TypeAdapter(type(metrics)).dump_python(metrics, mode="json"),
            "run": TypeAdapter(Run).dump_python(run, mode="json"),
        }
        print(json.dumps(document))
    else:
        print(tokenizer.decode(run.tokens)[len(shown) :])
        print(run_summary(run, metrics))
    if run.warning:
        print(f"specbranch: {run.warning}", file=sys.stderr)


@app.command()
def calibrate(
    out: Annotated[Path, typer.Option(help="the folder to write")] = CALIBRATION,
    quick: Annotated[bool, typer.Option("--quick", help="fewer prompts and samples")] = False,
    full: Annotated[bool, typer.Option("--full", help="more samples and longer texts")] = False,
    again: Annotated[bool, typer.Option("--again", help="measure even if the folder is whole")] = False,
    prompts: Annotated[Path | None, typer.Option(help="your own prompts, JSONL")] = None,
    target: Target = None,
    draft_model: DraftModel = None,
    precision: Precision_ = "bfloat16",
    trust_remote_code: Remote = False,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Measure a pair on this machine: what operations cost, and how well the drafts predict the target."""
    from calibrate.artifact import JSON_NAME, load_artifact
    from calibrate.prompts import choose_prompts
    from calibrate.run import EFFORTS, count_steps, describe, is_calibrated
    from calibrate.run import calibrate as measure
    from engine.default_drafts import choose_models
    from engine.pair import open_pair

    effort = EFFORTS["quick" if quick else "full" if full else "default"]
    chosen = choose_prompts(prompts, "calibration", effort.prompts)
    models = choose_models(target, draft_model, _precision(precision), trust_remote_code)
    if (out / JSON_NAME).exists() and not again:
        artifact = load_artifact(out)
        if not is_calibrated(artifact, *models, chosen, effort, seed):
            raise ConfigurationError(
                f"{out} holds a calibration of another pair, effort, prompts or machine: --again replaces it, "
                "--out writes elsewhere."
            )
        print(f"{out} holds just this already; --again measures anew.", file=sys.stderr)
    else:
        with open_pair(*models) as (pair, tokenizer), progress(count_steps(pair, effort, chosen)) as advance:
            artifact = measure(pair, tokenizer, chosen, effort, out, seed=seed, advance=advance)
    print(artifact.calibration.model_dump_json() if as_json else "\n".join(describe(artifact)))


@app.command()
def inspect(folder: Path = CALIBRATION, as_json: AsJson = False) -> None:
    """Print what a calibration holds."""
    from calibrate.artifact import load_artifact
    from calibrate.run import describe

    artifact = load_artifact(folder)
    print(artifact.calibration.model_dump_json() if as_json else "\n".join(describe(artifact)))


@app.command()
def simulate(
    scenario: Annotated[Path, typer.Argument(help="a scenario file, such as scenarios/default.yaml")],
    calibration: Annotated[Path | None, typer.Option(help="replay this calibration folder")] = None,
    as_json: AsJson = False,
) -> None:
    """Replay a scenario's configurations and compare them."""
    from pydantic import TypeAdapter

    from reports.tables import console, print_outcomes
    from scenarios.calibrations import open_calibration
    from scenarios.schema import load_scenario
    from sim.run import Outcome, run_scenario

    loaded = load_scenario(scenario)
    artifact = None if loaded.stated else open_calibration(calibration, loaded.calibration)
    outcomes = []
    with progress(len(loaded.configurations) * len(loaded.what_if)) as advance:
        for outcome in run_scenario(loaded, artifact):
            outcomes.append(outcome)
            advance(outcome.configuration.label())
    if as_json:
        rows = TypeAdapter(list[Outcome]).dump_python(outcomes, mode="json")
        print(json.dumps({"scenario": loaded.model_dump(mode="json"), "outcomes": rows}))
        return
    print_outcomes(console(), loaded, artifact, outcomes)


@app.command()
def tune(
    calibration: Annotated[Path, typer.Option(help="the calibration to replay")] = CALIBRATION,
    out: Annotated[Path, typer.Option(help="the configuration file to write")] = TUNED,
    as_json: AsJson = False,
) -> None:
    """Search the configurations and write the best one, with its rivals, for 'verify'."""
    from calibrate.artifact import load_artifact
    from reports.tables import console, print_tuned
    from scenarios.tuned import TunedConfiguration, save_tuned
    from sim.tune import tune as search

    artifact = load_artifact(calibration)
    with stages() as show:
        found = search(artifact, progress=lambda done, total: show("replaying the grid", done, total))
    tuned = TunedConfiguration.of(found, calibration, artifact.digest)
    save_tuned(out, tuned)
    if as_json:
        print(tuned.model_dump_json())
        return
    print_tuned(console(), found)
    print(f"written to {out}")


@app.command()
def verify(
    config: Annotated[Path, typer.Argument(help="what 'tune' wrote")] = TUNED,
    out: Annotated[Path, typer.Option(help="the record to write")] = VERIFICATION,
    count: Annotated[int, typer.Option("--prompts", min=2, help="how many held-out prompts")] = 10,
    own: Annotated[Path | None, typer.Option("--own-prompts", help="your own prompts, JSONL")] = None,
    max_tokens: Annotated[int, typer.Option(min=2)] = 96,
    repeats: Annotated[int, typer.Option(min=1)] = 1,
    again: Annotated[bool, typer.Option("--again", help="run even if the record holds just this")] = False,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Run the chosen configuration and its rivals on prompts that calibration did not see; compare."""
    from calibrate.artifact import HRAD_FOLDER, load_artifact
    from calibrate.prompts import choose_prompts
    from engine.pair import find_predictors, open_pair
    from reports.tables import console, verified_summary, verified_table
    from reports.verification import load_verification, save_verification
    from reports.verify import Plan, count_steps, is_verified
    from reports.verify import verify as run
    from scenarios.tuned import load_tuned

    tuned = load_tuned(config)
    artifact = load_artifact(tuned.calibration)
    chosen = choose_prompts(own, "heldout", count)
    plan = Plan(max_tokens=max_tokens, repeats=repeats, seed=seed)
    verification = load_verification(out) if out.exists() and not again else None
    if verification and is_verified(verification, tuned, chosen, plan):
        print(f"{out} holds just this already; --again runs it anew.", file=sys.stderr)
    else:
        target = artifact.calibration.target.spec
        drafts = {name: record.spec for name, record in artifact.calibration.drafts.items()}
        predictors = find_predictors(tuned.calibration / HRAD_FOLDER, drafts)
        with (
            open_pair(target, drafts, predictors) as (pair, tokenizer),
            progress(count_steps(tuned, chosen, plan)) as advance,
        ):
            verification = run(pair, tokenizer, artifact, tuned, chosen, plan, advance)
        save_verification(out, verification)
    if as_json:
        print(verification.model_dump_json())
        return
    shown = console()
    shown.print(verified_table(verification))
    shown.print(verified_summary(verification), highlight=False)
    shown.print(f"written to {out}", highlight=False)


@app.command()
def report(
    record: Annotated[Path, typer.Argument(help="what 'verify' wrote")] = VERIFICATION,
    out: Annotated[Path, typer.Option(help="the page to write")] = PAGE,
) -> None:
    """Write one self-contained interactive page of a verification."""
    from calibrate.artifact import load_artifact
    from engine.errors import CalibrationError
    from reports.page import write_page
    from reports.verification import load_verification

    verification = load_verification(record)
    try:
        artifact = load_artifact(Path(verification.calibration))
    except CalibrationError as error:
        print(f"specbranch: the page lacks the costs' charts: {error}", file=sys.stderr)
        artifact = None
    write_page(verification, out, artifact)
    print(out)


@app.command()
def bench(
    out: Annotated[Path, typer.Option(help="the record to write")] = BENCHMARK,
    markdown: Annotated[Path | None, typer.Option(help="also write the tables as a document")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="no sweep, two prompts")] = False,
    full: Annotated[bool, typer.Option("--full", help="more prompts, settings and tokens")] = False,
    memory: Annotated[bool, typer.Option("--memory", help="the caches' memory alone, in seconds")] = False,
    shown: Annotated[
        Path | None, typer.Option("--show", help="run nothing: the tables of an earlier record")
    ] = None,
    own: Annotated[Path | None, typer.Option("--own-prompts", help="your own prompts, JSONL")] = None,
    hrad_networks: Annotated[Path, typer.Option(help="where H-RAD's networks are")] = HRAD,
    target: Target = None,
    draft_model: DraftModel = None,
    precision: Precision_ = "bfloat16",
    trust_remote_code: Remote = False,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Compare every policy at its best setting with transformers, on the same cores, in one interleaved run.

    Interrupted, it resumes.
    """
    from calibrate.prompts import choose_prompts
    from engine.default_drafts import choose_models
    from engine.pair import find_predictors, open_pair
    from reports.benchmark import EFFORTS, Prompts, count_steps
    from reports.benchmark import bench as run
    from reports.benchmark_record import load_benchmark
    from reports.benchmark_tables import print_benchmark, print_memory, write_markdown
    from reports.cache_memory import measure_memory
    from reports.tables import console

    models = choose_models(target, draft_model, _precision(precision), trust_remote_code)
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


@app.command()
def distill(
    out: Annotated[
        Path | None, typer.Option(help="the file to write; none: the carried one is replaced")
    ] = None,
    threads: Annotated[int, typer.Option(min=1)] = 2,
    as_json: AsJson = False,
) -> None:
    """Make the default pair's small draft again: prune the target and distil it on text it writes itself.

    It takes two hours of one free core; interrupted, it resumes.
    """
    from dataclasses import asdict

    from engine.default_drafts import DISTILLED
    from engine.default_pair import cache_folder, default_target
    from engine.distill import distill as make

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


@app.command("train-hrad")
def train_hrad(
    out: Annotated[Path, typer.Option(help="the folder to write a network for each draft to")] = HRAD,
    prompts: Annotated[
        Path | None, typer.Option(help="your own prompts, JSONL; none: such as no draft was distilled on")
    ] = None,
    count: Annotated[int, typer.Option(min=3, help="how many prompts, at most")] = 72,
    max_tokens: Annotated[int, typer.Option(min=2, help="of the target's text on each")] = 192,
    target: Target = None,
    draft_model: DraftModel = None,
    precision: Precision_ = "bfloat16",
    trust_remote_code: Remote = False,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Train H-RAD for each draft: to foresee, from what the target knows, how the draft's next tokens will fare."""
    from pydantic import TypeAdapter

    from calibrate.hrad_examples import unseen_prompts
    from calibrate.hrad_quality import describe
    from calibrate.hrad_run import Trained, train
    from calibrate.prompts import choose_prompts
    from engine.default_drafts import choose_models
    from engine.pair import open_pair

    chosen = choose_prompts(prompts, "calibration", count) if prompts else unseen_prompts(count)
    models = choose_models(target, draft_model, _precision(precision), trust_remote_code)
    with open_pair(*models) as (pair, tokenizer), stages() as show:
        trained = train(pair, tokenizer, chosen, max_tokens, out, seed=seed, show=show)
    if as_json:
        print(TypeAdapter(list[Trained]).dump_json(trained).decode())
        return
    for one in trained:
        for found in one.quality:
            print("\n".join(describe(one.draft, found)))
        print(f"written to {one.path}")


@app.command("hardware-check")
def hardware_check(
    out: Annotated[Path, typer.Option(help="the JSON file to write")] = Path("runs/hardware-check.json"),
    layers: Annotated[int, typer.Option(min=1, help="of the random target")] = 24,
    width: Annotated[int, typer.Option(min=64, help="hidden size of the random target")] = 2048,
    heads: Annotated[int, typer.Option(min=1, help="attention heads of the random target")] = 16,
    default_pair: Annotated[
        bool, typer.Option("--default-pair", help="check with the default pair instead")
    ] = False,
    cpu: Annotated[bool, typer.Option("--cpu", help="run even though there is no CUDA device")] = False,
) -> None:
    """Check exactness, calibrate, tune and verify on this machine's GPUs; one JSON file of it all."""
    from calibrate.prompts import Prompt, builtin_prompts
    from engine.default_drafts import choose_models
    from engine.default_pair import cache_folder
    from engine.placement import cuda_devices
    from engine.random_pair import make_random_target
    from reports.hardware_check import EFFORT, check

    if not cuda_devices() and not cpu:
        raise SpecBranchError("there is no CUDA device here; --cpu runs the check on this machine's cores.")
    count = 2 * EFFORT.prompts
    if default_pair:
        target, drafts = choose_models(None, None, "bfloat16")
        prompts = builtin_prompts("calibration", EFFORT.prompts) + builtin_prompts("heldout", EFFORT.prompts)
    else:
        folder = cache_folder() / f"random-{layers}x{width}x{heads}"
        source = str(make_random_target(folder, layers=layers, width=width, heads=heads))
        target, drafts = choose_models(source, None, "bfloat16")
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
