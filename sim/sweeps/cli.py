"""The verb that chooses by load."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.command_line import (
    CALIBRATION,
    SCHEDULE,
    SHIPPED,
    Address,
    AsJson,
    Backend,
    CostsFrom,
    FirstTokenSeconds,
    Jobs,
    Rates,
    Seed,
    Sequences,
    ServingSystem,
    TokenSeconds,
    Users,
    calibration_folder,
    one_of,
    output_file,
    stages,
    verb,
)
from engine.errors import ConfigurationError

if TYPE_CHECKING:
    pass

app = typer.Typer()
OBJECTIVES = ("tokens-per-second", "goodput", "p95-token-seconds")
USERS = "1,2,4,8,16"


@verb(
    app,
    "schedule",
    "specbranch schedule --calibration runs/served",
    "specbranch schedule --calibration runs/served --for vllm --users 1,4,16,64",
)
def schedule(
    calibration: Annotated[
        Path,
        typer.Option(
            "--calibration",
            help=f"a calibration's folder, made with --batches, or '{SHIPPED}'",
            callback=calibration_folder,
        ),
    ] = CALIBRATION,
    costs_from: CostsFrom = None,
    out: Annotated[Path, typer.Option(help="the schedule to write", callback=output_file)] = SCHEDULE,
    users: Users = None,
    rates: Rates = None,
    objective: Annotated[
        str, typer.Option(help=" or ".join(OBJECTIVES), autocompletion=one_of(*OBJECTIVES))
    ] = "tokens-per-second",
    first_token: FirstTokenSeconds = None,
    each_token: TokenSeconds = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=2, help="of each text, at most; none: as the calibration has them")
    ] = None,
    sequences: Sequences = 64,
    samples: Annotated[int, typer.Option(min=2, help="of the requests at each load, for intervals")] = 5,
    temperature: Annotated[
        float, typer.Option(min=0.0, help="0: greedy texts; else that of the calibration's drawn texts")
    ] = 0.0,
    system: ServingSystem = None,
    seed: Seed = 0,
    jobs: Jobs = None,
    backend: Backend = "loky",
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Choose for each load: which method, draft length and branches to serve so many requests with, or none.

    Every configuration of a grid serves the same requests in the simulator, at each load.
    """
    from calibrate.artifact import load_artifact
    from engine.runtime.workload import Limits, read_loads
    from reports.schedule_tables import print_schedule
    from reports.tables import console
    from scenarios.what_if import WhatIf
    from sim.search.backends import backend as running_on
    from sim.search.exports import restriction
    from sim.sweeps.by_load import LOAD_GRID, schedule_by_load
    from sim.sweeps.load_scores import VALUES
    from sim.sweeps.schedule_file import ScheduleFile, save_schedule

    goal = next((known for known in VALUES if known == objective), None)
    if goal is None:
        raise ConfigurationError(f"there is no objective '{objective}': {', '.join(VALUES)}.")
    limits = Limits(first_token_seconds=first_token, token_seconds=each_token)
    if goal == "goodput" and limits == Limits():
        raise ConfigurationError(
            "goodput is of requests within limits: give --first-token-seconds, --token-seconds or both."
        )
    loads, what_if = read_loads(users, rates, default=USERS), WhatIf(temperature=temperature)
    artifact = load_artifact(calibration, costs_from)
    drafts = {name: record.spec for name, record in artifact.recorded.drafts.items()}
    with stages() as show, running_on(backend, address):
        found = schedule_by_load(
            artifact,
            loads,
            LOAD_GRID.model_copy(update={"first_match": (False, True) if system else (False,)}),
            objective=goal,
            limits=limits,
            what_if=what_if,
            tokens=max_tokens,
            samples=samples,
            sequences=sequences,
            only=restriction(system, drafts, temperature) if system else None,
            one_method=system is not None,
            seed=seed,
            jobs=jobs,
            progress=lambda done, total: show("serving the grid", done, total),
        )
    written = ScheduleFile.of(
        found,
        calibration,
        artifact.digest,
        drafts,
        sequences=sequences,
        what_if=what_if,
        seed=seed,
        deepen=artifact.recorded.target.spec.deepen,
        system=system,
        costs_from=costs_from,
    )
    save_schedule(out, written)
    if as_json:
        print(written.model_dump_json())
        return
    print_schedule(console(), found, written)
    print(f"written to {out}")
