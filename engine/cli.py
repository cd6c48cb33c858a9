"""Verbs that decode with the real engine, and those that make drafts."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from engine.command_line import (
    HRAD,
    AsJson,
    BatchNodes,
    Branches,
    Deepen,
    DraftLength,
    DraftModel,
    DraftName,
    DrawDrafts,
    Gates,
    Guesses,
    Hrad,
    HradNetworks,
    LengthsByLoad,
    MinConfidence,
    NGrams,
    Placed,
    Policy,
    Precision_,
    RankAcceptance,
    Redraft,
    Remote,
    Repeats,
    SecondUnder,
    Seed,
    Target,
    Temperature,
    Threads,
    TraceFile,
    TreeNodes,
    TreeWidth,
    TunedFile,
    configuration_of,
    output_file,
    precision_of,
    stages,
    verb,
)
from engine.errors import ConfigurationError
from engine.paths import check_input_folder, check_model

app = typer.Typer()


@verb(
    app,
    "generate",
    'specbranch generate "Why is the sky blue?"',
    'specbranch generate "Why is the sky blue?" --policy pearl --draft int8 --temperature 0.8',
)
def generate(
    prompt: Annotated[str, typer.Argument(help="what to answer")],
    policy: Policy = "specbranch",
    draft: DraftName = None,
    draft_length: DraftLength = 4,
    branches: Branches = 4,
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
    placement: Placed = "at-once",
    config: TunedFile = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="of the answer")] = 128,
    temperature: Temperature = 0.0,
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
    from pydantic import TypeAdapter

    from engine.drafts.default_drafts import choose_models
    from engine.metrics import measure
    from engine.models.deepening import remarks
    from engine.models.sampling import Sampling
    from engine.record import Run
    from engine.runtime.pair import find_predictors, open_pair
    from reports.chrome_trace import save_trace
    from reports.tables import run_summary

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
    spec, drafts = choose_models(
        target, draft_model, precision_of(precision), trust_remote_code, ngrams, deepen
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


@verb(app, "distill", "specbranch distill --out runs/distilled.safetensors")
def distill(
    out: Annotated[
        Path | None,
        typer.Option(help="the file to write; none: the carried one is replaced", callback=output_file),
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


@verb(app, "count-ngrams", "specbranch count-ngrams --target models/mine --out runs/ngrams.safetensors")
def count_ngrams(
    out: Annotated[
        Path | None,
        typer.Option(help="the file to write; none: the carried one is replaced", callback=output_file),
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
