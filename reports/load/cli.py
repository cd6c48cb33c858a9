"""The verb that holds predictions of served requests against the engine."""

from pathlib import Path
from typing import Annotated

import typer

from engine.command_line import AsJson, PageFile, SomeCalibration, output_file, progress, verb

app = typer.Typer()


@verb(app, "verify-load", "specbranch verify-load load.yaml --page runs/load.html")
def verify_load(
    scenario: Annotated[
        Path, typer.Argument(help="a scenario whose workload has arrivals, and a calibration's costs")
    ],
    calibration: SomeCalibration = None,
    out: Annotated[Path, typer.Option(help="the record to write", callback=output_file)] = Path(
        "runs/load-verification.json"
    ),
    page: PageFile = None,
    as_json: AsJson = False,
) -> None:
    """Serve a scenario's requests with the real engine, and compare with what is simulated of them.

    The requests are for the calibration's own texts; it must have been made with --batches. The exit code is 0 where
    the model kept to its bounds at the machine's speed, 4 where it did not, and 3 where that stayed open.
    """
    from pydantic import TypeAdapter

    from calibrate.artifact import write_whole
    from engine.runtime.pair import open_pair
    from reports.load.load_fidelity import judge_loads
    from reports.load.load_page import write_verified
    from reports.load.load_tables import print_verified
    from reports.load.verifying import LoadVerification, check_scenario, count_services, verify_loads
    from reports.tables import console
    from reports.verify.fidelity import EXIT_CODES
    from scenarios.calibrations import open_calibration
    from scenarios.schema import load_scenario
    from scenarios.shipped import find_scenario

    loaded = load_scenario(find_scenario(scenario))
    artifact = open_calibration(calibration, loaded.calibration)
    check_scenario(loaded)
    used = {c.draft_among(artifact.recorded.drafts) for c in loaded.configurations}
    drafts = {name: record.spec for name, record in artifact.recorded.drafts.items() if name in used}
    with (
        open_pair(artifact.recorded.target.spec, drafts) as (pair, _),
        progress(count_services(loaded)) as advance,
    ):
        verified = verify_loads(pair, artifact, loaded, advance)
    document = TypeAdapter(LoadVerification).dump_json(verified)
    write_whole(out, document)
    if page:
        write_verified(loaded, verified, artifact, page)
    if as_json:
        print(document.decode())
    else:
        print_verified(console(), loaded.title, verified)
        print(f"written to {out}")
    raise typer.Exit(EXIT_CODES[judge_loads(verified.compared, verified.reference_seconds).verdict])
