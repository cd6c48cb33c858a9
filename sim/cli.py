"""Verbs that simulate: scenarios, the tuner, and what becomes of what it chose."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.command_line import (
    CALIBRATION,
    OBJECTIVES,
    SHIPPED,
    SYSTEMS,
    TUNED,
    Address,
    AsJson,
    Backend,
    CostsFrom,
    Jobs,
    PageFile,
    Seed,
    ServingSystem,
    SomeCalibration,
    Table,
    TraceFile,
    Wide,
    calibration_folder,
    one_of,
    output_file,
    progress,
    shipped_scenarios,
    stages,
    verb,
)
from engine.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from calibrate.artifact import Artifact
    from scenarios.schema import Scenario
    from sim.search.exports import Export

app = typer.Typer()


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


def print_service(
    scenarios: "Sequence[Scenario]",
    artifact: "Artifact | None",
    wide: bool,
    as_json: bool,
    page: Path | None,
) -> None:
    """Serve the requests of scenarios, one for each hardware, and show what came of it; `page`: also there."""
    from pydantic import TypeAdapter

    from engine.naming import in_words
    from reports.load.load_page import write_loads
    from reports.scenario_document import scenario_document
    from reports.service_tables import print_served
    from reports.tables import console
    from sim.sweeps.served import run_served
    from sim.sweeps.served_outcome import ServedOutcome

    documents: list[tuple[Scenario, list[ServedOutcome]]] = []
    with progress(sum(loaded.outcomes for loaded in scenarios)) as advance:
        for loaded in scenarios:
            documents.append((loaded, []))
            for outcome in run_served(loaded, artifact):
                documents[-1][1].append(outcome)
                advance(f"{outcome.arrivals.label()}: {in_words(outcome.configuration)}")
    if page:
        write_loads(documents, page, artifact)
    if as_json:
        print(scenario_document(documents, TypeAdapter(list[ServedOutcome])))
        return
    for loaded, outcomes in documents:
        print_served(console(wide), loaded, artifact, outcomes, wide)


@verb(
    app,
    "simulate",
    "specbranch simulate default",
    "specbranch simulate scenarios/draft-length.yaml --calibration runs/calibration --table runs/lengths.csv",
)
def simulate(
    scenario: Annotated[
        Path | None,
        typer.Argument(
            help="a scenario file, or the name of one that comes along, such as 'default'",
            autocompletion=shipped_scenarios,
        ),
    ] = None,
    calibration: SomeCalibration = None,
    costs_from: CostsFrom = None,
    against: Annotated[
        Path | None,
        typer.Option(help="in place of a scenario, what 'verify' wrote: split its errors in parts"),
    ] = None,
    trace: TraceFile = None,
    table: Table = None,
    page: PageFile = None,
    jobs: Jobs = None,
    backend: Backend = "loky",
    address: Address = None,
    wide: Wide = False,
    as_json: AsJson = False,
) -> None:
    """Replay a scenario's configurations and compare them.

    Where its workload says that requests arrive, they are served together, in this process, and the table is by load.

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
            f"name a scenario file, one that comes along ({', '.join(shipped_scenarios())}), or --against a record."
        )
    from pydantic import TypeAdapter

    from engine.naming import in_words
    from reports.scenario_document import scenario_document
    from reports.tables import console, print_outcomes
    from scenarios.calibrations import open_calibration
    from scenarios.schema import load_scenarios
    from scenarios.shipped import find_scenario
    from sim.search.backends import backend as running_on
    from sim.sweeps.run import Outcome, first_run
    from sim.sweeps.tabled import Tabled

    scenarios = load_scenarios(find_scenario(scenario))
    first = scenarios[0]
    if costs_from and (first.stated or first.hardware or first.costs):
        raise ConfigurationError(
            "--costs-from takes a calibration's place for costs, and the scenario states them."
        )
    costs_from = costs_from or first.costs_from
    artifact = None if first.stated else open_calibration(calibration, first.calibration, costs_from)
    if first.served:
        if trace or table:
            raise ConfigurationError(
                f"{'--trace' if trace else '--table'} is of texts that are written alone; requests that arrive have "
                "--json and --page."
            )
        print_service(scenarios, artifact, wide, as_json, page)
        return
    if page:
        raise ConfigurationError(
            "--page is of requests that are served together; the scenario's workload has no 'arrivals'."
        )
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
        print(scenario_document(documents, TypeAdapter(list[Outcome])))
        return
    for loaded, outcomes in documents:
        print_outcomes(console(wide), loaded, artifact, outcomes, wide)


@verb(app, "tune", "specbranch tune", "specbranch tune --for vllm --out runs/vllm.yaml")
def tune(
    calibration: Annotated[
        Path,
        typer.Option(
            "--calibration", help=f"the calibration's folder, or '{SHIPPED}'", callback=calibration_folder
        ),
    ] = CALIBRATION,
    costs_from: CostsFrom = None,
    out: Annotated[Path, typer.Option(help="the configuration file to write", callback=output_file)] = TUNED,
    objective: Annotated[
        str,
        typer.Option(
            help="tokens-per-second, tokens-per-device-second or p95-token-seconds",
            autocompletion=one_of(*OBJECTIVES),
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
    system: ServingSystem = None,
    listed: Annotated[
        int, typer.Option("--configurations", min=1, help="how many 'verify' is to run in all, if not more")
    ] = 6,
    seed: Seed = 0,
    table: Table = None,
    jobs: Jobs = None,
    backend: Backend = "loky",
    address: Address = None,
    wide: Wide = False,
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
    artifact = load_artifact(calibration, costs_from)
    rows = read_table(table) if table else []
    drafts = {name: record.spec for name, record in artifact.recorded.drafts.items()}
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
        found, calibration, artifact.digest, drafts, artifact.recorded.target.spec.deepen, costs_from
    )
    save_tuned(out, tuned)
    if table:
        write_table(table, merge([rows, list(rows_of(artifact.digest, found))]))
    if as_json:
        print(tuned.model_dump_json())
        return
    print_tuned(console(wide), found, wide)
    print(f"written to {out}")


@verb(app, "merge", "specbranch merge A.csv B.csv --out C.csv")
def merge_tables(
    tables: Annotated[list[Path], typer.Argument(help="tables that 'simulate' or 'tune' wrote")],
    out: Annotated[Path, typer.Option(help="the table to write", callback=output_file)],
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


@verb(app, "export", "specbranch export --to vllm")
def export_configuration(
    config: Annotated[Path, typer.Argument(help="what 'tune' or 'schedule' wrote")] = TUNED,
    system: Annotated[
        str | None,
        typer.Option(
            "--to",
            help="vllm, sglang or transformers; none: what was tuned for, or vllm",
            autocompletion=one_of(*SYSTEMS),
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
    """Print the chosen configuration, or a schedule by load, for another system, as flags or as JSON."""
    from sim.search.exports import export
    from sim.search.tuned import chosen_depth, load_tuned
    from sim.sweeps.schedule_file import export_schedule, is_schedule, load_schedule

    if is_schedule(config):
        scheduled = load_schedule(config)
        system = system or scheduled.system or "vllm"
        _warn_of_depth(scheduled.deepen)
        print_export(export_schedule(scheduled, system, draft_model), system, nearest, as_json)
        return
    tuned = load_tuned(config)
    _warn_of_depth(chosen_depth(tuned) or 1)
    system = system or tuned.system or "vllm"
    made = export(tuned.chosen, system, draft_model, tuned.what_if.temperature, tuned.chosen_draft)
    print_export(made, system, nearest, as_json)


def _warn_of_depth(deepen: int) -> None:
    if deepen > 1:
        print(
            f"specbranch: the choice was made for a target deepened {deepen} times (--deepen), which no other system "
            "runs.",
            file=sys.stderr,
        )


def print_export(made: "Export", system: str, nearest: bool, as_json: bool) -> None:
    """What to give to a system, and what it does otherwise. ConfigurationError if it does, and none near is wanted."""
    from dataclasses import asdict

    for warning in made.warnings:
        print(f"specbranch: {system}: {warning}.", file=sys.stderr)
    if not made.exact and not nearest:
        raise ConfigurationError(
            f"{system} does not do just what was simulated; 'specbranch tune --for {system}' chooses among what it "
            "does, and --nearest exports what is nearest."
        )
    print(json.dumps(asdict(made)) if as_json else made.text)
