"""Verbs that benchmark the program itself, and check a machine."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from engine.command_line import (
    BENCHMARK,
    CALIBRATION_BENCHMARK,
    HRAD,
    AsJson,
    BatchNodes,
    Branches,
    Deepen,
    DraftLength,
    DraftModel,
    DraftName,
    DrawDrafts,
    FirstTokenSeconds,
    Full,
    Gates,
    Guesses,
    Hrad,
    HradNetworks,
    LengthsByLoad,
    Markdown,
    MinConfidence,
    NGrams,
    OwnPrompts,
    Placed,
    Policy,
    Precision_,
    Quick,
    RankAcceptance,
    Rates,
    Redraft,
    Remote,
    Repeats,
    SecondUnder,
    Seed,
    Sequences,
    Target,
    Temperature,
    TokenSeconds,
    TreeNodes,
    TreeWidth,
    TunedFile,
    Users,
    Wide,
    calibration_folder,
    configuration_of,
    one_of,
    output_file,
    output_folder,
    precision_of,
    progress,
    stages,
    verb,
)
from engine.errors import ConfigurationError, SpecBranchError

app = typer.Typer()

PROMPTS = 72  # of which the requests of a load are, in turn, if there are as many


@verb(app, "bench", "specbranch bench --quick", "specbranch bench --show runs/bench.json")
def bench(
    out: Annotated[Path, typer.Option(help="the record to write", callback=output_file)] = BENCHMARK,
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

    models = choose_models(target, draft_model, precision_of(precision), trust_remote_code, ngrams, deepen)
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


@verb(
    app,
    "serve-bench",
    "specbranch serve-bench --users 1,4,16 --policy autoregressive --placement in-turn",
    "specbranch serve-bench --rates 0.5,2 --deepen 6 --policy speculative --draft int8 --placement in-turn",
)
def serve_bench(
    users: Users = None,
    rates: Rates = None,
    requests_of: Annotated[
        Path | None,
        typer.Option("--arrivals", help="a CSV file that says when requests come, and how long they are"),
    ] = None,
    think: Annotated[
        float, typer.Option("--think-seconds", min=0.0, help="of a user between two requests, in the mean")
    ] = 0.0,
    time_scale: Annotated[
        float, typer.Option(min=1e-9, help="what a trace's seconds are multiplied by; 2: half the load")
    ] = 1.0,
    requests: Annotated[
        int | None,
        typer.Option(min=1, help="of each load; none: four a user, or 32 at a rate, or all of a trace"),
    ] = None,
    prompt_tokens: Annotated[
        int | None, typer.Option(min=1, help="what prompts are cut or lengthened to; none: as they are")
    ] = None,
    ignore_end: Annotated[
        bool, typer.Option("--ignore-end", help="write all tokens, also behind the end of a text")
    ] = False,
    first_token_limit: FirstTokenSeconds = None,
    token_limit: TokenSeconds = None,
    own: OwnPrompts = None,
    policy: Policy = "autoregressive",
    draft: DraftName = None,
    draft_length: DraftLength = 4,
    branches: Branches = 1,
    min_confidence: MinConfidence = 0.0,
    draw_drafts: DrawDrafts = False,
    hrad: Hrad = False,
    hrad_networks: HradNetworks = HRAD,
    redraft: Redraft = False,
    guesses: Guesses = 0,
    repeats: Repeats = 0,
    second_under: SecondUnder = 0.0,
    tree_nodes: TreeNodes = 12,
    rank_acceptance: RankAcceptance = "0.75/0.12/0.05/0.03",
    lengths_by_load: LengthsByLoad = "1-4:4/5-16:2/17-:0",
    gates: Gates = "1:0.2/4:0.3",
    tree_width: TreeWidth = 4,
    batch_nodes: BatchNodes = 32,
    placement: Placed = "in-turn",
    config: TunedFile = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="of each answer")] = 64,
    discipline: Annotated[
        str,
        typer.Option(
            help="ready: a free device runs what waits; lockstep: all draft, then all are verified",
            autocompletion=one_of("ready", "lockstep"),
        ),
    ] = "ready",
    sequences: Sequences = 64,
    rows: Annotated[int, typer.Option(min=1, help="of a forward, at most")] = 512,
    slots: Annotated[int, typer.Option(min=1, help="tokens that each cache holds")] = 1 << 16,
    whole_prompts: Annotated[
        bool, typer.Option("--whole-prompts", help="read each prompt in one forward, and not in chunks")
    ] = False,
    samples: Annotated[
        int,
        typer.Option(min=1, help="how often each load is served, by other requests; several give intervals"),
    ] = 1,
    speed_up: Annotated[
        bool,
        typer.Option(
            "--speed-up",
            help="let autoregressive decoding serve the same requests, too, and say how many times as fast this is",
        ),
    ] = False,
    temperature: Temperature = 0.0,
    target: Target = None,
    deepen: Deepen = 1,
    draft_model: DraftModel = None,
    ngrams: NGrams = None,
    precision: Precision_ = "bfloat16",
    trust_remote_code: Remote = False,
    seed: Seed = 0,
    wide: Wide = False,
    as_json: AsJson = False,
) -> None:
    """Serve many requests at once with the real engine, and measure what `simulate` predicts of them.

    Requests come from so many users who each wait for their answer, at a rate, or as a trace says, and are written
    together on one pair. It is an instrument and no server.
    """
    from pydantic import TypeAdapter

    from calibrate.prompts import choose_prompts
    from engine.configuration import Configuration
    from engine.drafts.default_drafts import choose_models
    from engine.models.deepening import remarks
    from engine.naming import in_words
    from engine.runtime.pair import find_predictors, open_pair
    from engine.runtime.workload import Limits, draw_requests, read_loads
    from reports.bench.served_bench import Asked, measure_loads, print_loads
    from reports.tables import console
    from scenarios.served import Batching
    from sim.sweeps.served_outcome import ServedOutcome

    if discipline not in ("ready", "lockstep"):
        raise ConfigurationError(f"there is no discipline '{discipline}': ready or lockstep.")
    loads = read_loads(users, rates, requests_of, think_seconds=think, time_scale=time_scale)
    configuration = configuration_of(
        config,
        deepen,
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
        tree_nodes=tree_nodes,
        rank_acceptance=rank_acceptance,
        lengths_by_load=lengths_by_load,
        gates=gates,
        tree_width=tree_width,
        batch_nodes=batch_nodes,
        placement=placement,
    )
    if speed_up and not configuration.drafts:
        raise ConfigurationError(
            "--speed-up goes with a method that drafts; name one with --policy or --config."
        )
    # Alone, the target has everything: the cores that a draft would have, too.
    alone = Configuration(policy="autoregressive", placement="in-turn")
    compared = [alone, configuration] if speed_up else [configuration]
    batching = Batching(
        discipline=discipline,  # type: ignore[arg-type]  # it is one of these
        rows=rows,
        sequences=sequences,
        slots=slots,
        chunks=not whole_prompts,
    )
    limits = Limits(first_token_seconds=first_token_limit, token_seconds=token_limit)
    asked = Asked(
        choose_prompts(own, "heldout", PROMPTS),
        max_tokens,
        prompt_tokens,
        requests,
        ignore_end,
        temperature,
        seed,
        limits,
    )
    for load in loads:
        draw_requests(asked.workload(load, 0))  # what cannot be read is said before a model is loaded
    spec, drafts = choose_models(
        target, draft_model, precision_of(precision), trust_remote_code, ngrams, deepen
    )
    wanted = configuration.draft_among(drafts)
    mine = {wanted: drafts[wanted]} if wanted else {}
    with (
        open_pair(spec, mine, find_predictors(hrad_networks, mine)) as (pair, tokenizer),
        stages() as show,
    ):
        found = list(measure_loads(pair, tokenizer, compared, batching, loads, asked, samples, show))
    said = remarks(spec)
    if as_json:
        document = {
            "remarks": said,
            "limits": limits.model_dump(mode="json"),
            "loads": TypeAdapter(list[ServedOutcome]).dump_python(found, mode="json"),
        }
        print(json.dumps(document))
        return
    title = "; ".join([*([] if speed_up else [in_words(configuration)]), batching.label()])
    print_loads(console(wide), title, found, limits, said, wide)


@verb(app, "bench-calibration", "specbranch bench-calibration --quick")
def bench_calibration(
    out: Annotated[
        Path, typer.Option(help="where the three calibrations go", callback=output_folder)
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
    from reports.bench.calibration_benchmark import benchmark_calibration, with_few_texts
    from reports.bench.calibration_benchmark import markdown as describe

    effort = with_few_texts(EFFORTS["quick" if quick else "default"])
    models = choose_models(target, draft_model, precision_of(precision), trust_remote_code, ngrams, deepen)
    with stages() as show:
        found = benchmark_calibration(
            *models, choose_prompts(None, "calibration", effort.prompts), effort, out, show
        )
    text = describe(found, " ".join(["specbranch", *sys.argv[1:]]))
    if markdown:
        write_whole(markdown, text.encode())
    print(found.model_dump_json() if as_json else text)


@verb(app, "bench-sim", "specbranch bench-sim --quick")
def bench_sim(
    calibration: Annotated[
        Path | None,
        typer.Option(
            "--calibration",
            help="the calibration's folder; none: the one that comes along",
            callback=calibration_folder,
        ),
    ] = None,
    quick: Quick = False,
    markdown: Markdown = None,
    as_json: AsJson = False,
) -> None:
    """How fast the simulator starts and replays, by policy, and how that grows."""
    from calibrate.artifact import load_artifact, write_whole
    from reports.bench.sim_benchmark import benchmark_simulator
    from reports.bench.sim_benchmark_tables import markdown as describe
    from scenarios.shipped import REFERENCE

    command = " ".join(["specbranch bench-sim", *(["--quick"] if quick else [])])
    artifact = load_artifact(calibration or REFERENCE)
    with stages() as show:
        found = benchmark_simulator(artifact, command, show, quick)
    text = describe(found)
    if markdown:
        write_whole(markdown, text.encode())
    print(found.model_dump_json() if as_json else text)


@verb(
    app,
    "hardware-check",
    "specbranch hardware-check",
    "specbranch hardware-check --cpu --layers 2 --width 256 --heads 4",
)
def hardware_check(
    out: Annotated[Path, typer.Option(help="the JSON file to write", callback=output_file)] = Path(
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
