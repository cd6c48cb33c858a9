"""The command line: the verbs, nothing else."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from engine.errors import SpecBranchError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def specbranch() -> None:
    """Explore speculative decoding with parallel branches before running it."""


@app.command()
def simulate(
    scenario: Annotated[Path, typer.Argument(help="a scenario file, such as scenarios/default.yaml")],
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """Replay a scenario's configurations and compare them."""
    from rich.console import Console
    from rich.progress import track
    from rich.table import Table

    from scenarios.schema import load_scenario
    from sim.run import run_scenario

    loaded = load_scenario(scenario)
    outcomes = list(
        track(
            run_scenario(loaded),
            total=len(loaded.configurations),
            description="simulating",
            console=Console(stderr=True),
            transient=True,
        )
    )
    if as_json:
        rows = [{**asdict(o), "configuration": o.configuration.model_dump()} for o in outcomes]
        print(json.dumps({"scenario": loaded.model_dump(mode="json"), "outcomes": rows}))
        return
    table = Table(title=loaded.title)
    headings = "policy,length,branches,cut,placement,tokens/s,speed-up (95%),accepted length"
    headings += ",rollback,hedge,target idle,draft idle"
    for heading in headings.split(","):
        table.add_column(heading, justify="left" if heading in ("policy", "placement") else "right")
    for o in outcomes:
        c, m = o.configuration, o.metrics
        table.add_row(
            c.policy,
            str(c.draft_length),
            str(c.branches),
            f"{c.min_confidence:g}",
            c.placement,
            f"{m.tokens_per_second:.1f}",
            f"{o.speed_up:.2f} ({o.speed_up_low:.2f} to {o.speed_up_high:.2f})",
            f"{m.mean_accepted_length:.2f}",
            f"{m.rollback_rate:.1%}",
            f"{m.hedge_rate:.1%}",
            f"{m.target_idle:.1%}",
            f"{m.draft_idle:.1%}",
        )
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(table)
    work = loaded.workload
    console.print(
        f"{work.prompts} paths of {work.tokens} tokens, seed {work.seed}; costs and acceptance are stated in "
        "the file, not measurements; intervals are over paths."
    )


def main() -> None:
    """Run a verb; a user's error is one sentence on stderr and exit code 1."""
    try:
        app()
    except SpecBranchError as error:
        print(f"specbranch: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
