"""Verbs that verify predictions, and those that show what came out."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from engine.command_line import (
    MAP,
    PAGE,
    SETTLEMENT,
    TUNED,
    VERIFICATION,
    Address,
    Again,
    AsJson,
    Backend,
    CostsFrom,
    Jobs,
    OwnPrompts,
    Seed,
    SomeCalibration,
    Wide,
    one_of,
    output_file,
    progress,
    stages,
    verb,
)
from engine.errors import ConfigurationError, SpecBranchError

app = typer.Typer()


@verb(
    app,
    "verify",
    "specbranch verify",
    "specbranch verify runs/tuned.yaml --prompts 24 --max-tokens 48 --minutes 5",
)
def verify(
    config: Annotated[Path, typer.Argument(help="what 'tune' wrote")] = TUNED,
    out: Annotated[
        Path | None,
        typer.Option(
            help=f"the record to write; none: {VERIFICATION}, or {SETTLEMENT}", callback=output_file
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
    from reports.settlement_table import print_settlement
    from reports.tables import console, print_fidelity, verified_summary, verified_table
    from reports.verify.fidelity import EXIT_CODES, judge
    from reports.verify.looks import LOOKS
    from reports.verify.plan import Plan
    from reports.verify.run import count_steps, is_verified, longest_text
    from reports.verify.run import verify as run
    from reports.verify.settle import choose_drafts, contestants, settle
    from reports.verify.tolerance import read_tolerance
    from reports.verify.verification import load_verification, replay_folder, save_verification
    from sim.acceptance.temperature import at_temperature
    from sim.search.tuned import load_tuned

    tuned = load_tuned(config)
    if tuned.costs_from is not None:
        raise ConfigurationError(
            f"{config} was tuned with the costs of {tuned.costs_from}, and runs are held against a calibration's own: "
            "run 'specbranch tune' without --costs-from."
        )
    artifact = load_artifact(tuned.calibration)
    chosen = choose_prompts(own, "heldout", count)
    plan = Plan(
        max_tokens or min(96, longest_text(artifact, tuned)),
        repeats,
        seed,
        read_tolerance(tolerance),
        choose_drafts(at_temperature(artifact, tuned.what_if.temperature)) if settling else None,
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
                temperature=tuned.what_if.temperature,
                progress=lambda done, total: show("replaying the grid", done, total),
            )
    out = out or (SETTLEMENT if settling else VERIFICATION)
    verification = load_verification(out) if out.exists() and not again else None
    if verification and is_verified(verification, tuned, chosen, plan):
        print(f"{out} holds just this already; --again runs it anew.", file=sys.stderr)
    else:
        target = artifact.recorded.target.spec
        drafts = {name: record.spec for name, record in artifact.recorded.drafts.items()}
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
        print_fidelity(shown, found, verification, wide)
        if settled:
            print_settlement(shown, settled)
        shown.print(f"written to {out}", highlight=False)
    raise typer.Exit(0 if settled else EXIT_CODES[found.verdict])


@verb(app, "report", "specbranch report", "specbranch report runs/settlement.json --out runs/settlement.html")
def report(
    record: Annotated[Path, typer.Argument(help="what 'verify' wrote")] = VERIFICATION,
    out: Annotated[Path, typer.Option(help="the page to write", callback=output_file)] = PAGE,
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


@verb(app, "compare", "specbranch compare runs/before.json runs/verification.json --out runs/compared.html")
def compare(
    records: Annotated[
        list[Path], typer.Argument(help="two or more of what 'verify' wrote; the first is compared with")
    ],
    out: Annotated[Path | None, typer.Option(help="also write a page", callback=output_file)] = None,
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


@verb(app, "trace", "specbranch trace", "specbranch trace --prompt 2 --world engine --out runs/engine.json")
def trace(
    record: Annotated[Path, typer.Argument(help="what 'verify' wrote")] = VERIFICATION,
    out: Annotated[Path, typer.Option(help="the file to write", callback=output_file)] = Path(
        "runs/trace.json"
    ),
    configuration: Annotated[
        str | None, typer.Option(help="its number in the record, or its label; none: that of the timeline")
    ] = None,
    prompt: Annotated[int, typer.Option(min=0, help="its number in the record")] = 0,
    world: Annotated[
        str,
        typer.Option(help="engine, simulator or both", autocompletion=one_of("engine", "simulator", "both")),
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


@verb(app, "map", "specbranch map", "specbranch map --points runs/verification.json --out runs/mine.html")
def map_regimes(
    calibration: SomeCalibration = None,
    costs_from: CostsFrom = None,
    out: Annotated[Path, typer.Option(help="the page to write", callback=output_file)] = MAP,
    draft: Annotated[
        str | None, typer.Option(help="whose costs every cell has; none: the draft's with the nearest ratio")
    ] = None,
    points: Annotated[
        list[Path] | None,
        typer.Option(
            "--points",
            help="a record of 'verify', or a file of points, to draw on it; repeat it, or name several behind it",
        ),
    ] = None,
    more: Annotated[
        list[Path] | None, typer.Argument(help="further records to draw", show_default=False)
    ] = None,
    kept: Annotated[
        Path | None,
        typer.Option(
            "--save-points",
            help="also write the points into one small file, which --points takes as it takes a record",
            callback=output_file,
        ),
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
    from reports.map.evidence import gather, save_evidence
    from reports.map.regime_page import document, write_map
    from reports.map.terminal import print_map
    from reports.tables import console
    from scenarios.calibrations import find_calibration
    from sim.search.backends import backend as running_on
    from sim.search.regime_map import regime_map

    if kept and not points:
        raise ConfigurationError(
            "--save-points keeps what --points names; name a record of 'specbranch verify'."
        )
    measured = gather([*(points or ()), *(more or ())])  # before the work, should one not be readable
    if kept:
        save_evidence(kept, measured)
    folder = find_calibration(calibration)
    with stages() as show, running_on(backend, address):
        found = regime_map(
            load_artifact(folder, costs_from),
            str(folder),
            draft,
            prompts=count,
            seed=seed,
            jobs=jobs,
            progress=lambda done, total: show("simulating the map", done, total),
        )
    write_map(found, measured.points, out, measured.settled)
    if as_json:
        print(json.dumps(document(found, measured.points, measured.settled)))
        return
    print_map(console(), found, measured.points, measured.settled)
    print(f"written to {out}")
