"""Verbs that measure a pair and show what was measured."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.command_line import (
    CALIBRATION,
    HRAD,
    SHIPPED,
    Again,
    AsJson,
    Deepen,
    DraftModel,
    Full,
    NGrams,
    OwnPrompts,
    Precision_,
    Quick,
    Remote,
    Seed,
    Target,
    calibration_folder,
    output_folder,
    precision_of,
    stages,
    verb,
)
from engine.errors import ConfigurationError

if TYPE_CHECKING:
    from calibrate.artifact import Artifact

app = typer.Typer()


def print_all(artifact: "Artifact") -> None:
    """Everything a calibration holds, for a person."""
    from calibrate.summary import describe
    from calibrate.traces import acceptance_statistics as shares
    from calibrate.traces.gates import describe_gates
    from sim.world.explained import describe as describe_share

    acceptance = [
        *shares.describe_acceptance(shares.acceptance_statistics(artifact)),
        *describe_gates(artifact),
        *shares.describe_temperature(shares.acceptance_at_temperature(artifact)),
    ]
    print("\n".join([*describe(artifact), *acceptance, *describe_share(artifact)]))


@verb(
    app,
    "calibrate",
    "specbranch calibrate --deepen 6 --quick",
    "specbranch calibrate --target models/mine --draft-model models/small --own-prompts prompts.jsonl",
)
def calibrate(
    out: Annotated[Path, typer.Option(help="the folder to write", callback=output_folder)] = CALIBRATION,
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
    batches: Annotated[
        bool,
        typer.Option("--batches", help="time forwards of several requests, too, to simulate many at once"),
    ] = False,
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
    from calibrate.artifact import holds_calibration, load_artifact
    from calibrate.prompts import choose_prompts
    from calibrate.run import EFFORTS, differences, with_batches
    from calibrate.run import calibrate as measure
    from engine.drafts.default_drafts import choose_models
    from engine.runtime.pair import open_pair
    from reports.calibration_brief import print_brief
    from reports.tables import console

    effort = EFFORTS["quick" if quick else "full" if full else "default"]
    effort = with_batches(effort) if batches else effort
    chosen = choose_prompts(own, "calibration", effort.prompts)
    models = choose_models(target, draft_model, precision_of(precision), trust_remote_code, ngrams, deepen)
    if holds_calibration(out) and not again:
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
    if as_json:
        print(json.dumps(artifact.described()))
    else:
        print_brief(console(), artifact, f"specbranch inspect {out}")


@verb(app, "inspect", "specbranch inspect", "specbranch inspect runs/plain/calibration --json")
def inspect(
    folder: Annotated[
        Path,
        typer.Argument(
            help=f"a calibration, as 'calibrate' wrote it, or '{SHIPPED}': the one that comes along",
            callback=calibration_folder,
        ),
    ] = CALIBRATION,
    as_json: AsJson = False,
) -> None:
    """Print all that a calibration holds."""
    from calibrate.artifact import load_artifact

    artifact = load_artifact(folder)
    if as_json:
        print(json.dumps(artifact.described()))
    else:
        print_all(artifact)


@verb(app, "train-hrad", "specbranch train-hrad --count 24")
def train_hrad(
    out: Annotated[
        Path, typer.Option(help="the folder to write a network for each draft to", callback=output_folder)
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
    """Train H-RAD for each draft: to predict, from what the target knows, how the draft's next tokens will fare."""
    from pydantic import TypeAdapter

    from calibrate.prompts import choose_prompts
    from calibrate.traces.hrad_examples import unseen_prompts
    from calibrate.traces.hrad_quality import describe
    from calibrate.traces.hrad_run import Trained, train
    from engine.drafts.default_drafts import choose_models
    from engine.runtime.pair import open_pair

    chosen = choose_prompts(own, "calibration", count) if own else unseen_prompts(count)
    models = choose_models(target, draft_model, precision_of(precision), trust_remote_code, ngrams)
    with open_pair(*models) as (pair, tokenizer), stages() as show:
        trained = train(pair, tokenizer, chosen, max_tokens, out, seed=seed, show=show)
    if as_json:
        print(TypeAdapter(list[Trained]).dump_json(trained).decode())
        return
    for one in trained:
        for found in one.quality:
            print("\n".join(describe(one.draft, found)))
        print(f"written to {one.path}")
