"""The command line: it gathers the verbs of all parts (their `cli.py`) under the headings of the help."""

import sys
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import calibrate.cli
import engine.cli
import reports.bench.cli
import reports.cli
import reports.load.cli
import reports.race.cli
import scenarios.cli
import sim.cli
import sim.sweeps.cli
from engine.errors import SpecBranchError

# The verbs in the order, and under the headings, in which the help lists them.
PANELS = {
    "Every day": ("calibrate", "tune", "verify", "report", "simulate"),
    "Measure": ("generate", "serve-bench", "verify-load", "inspect", "bench", "hardware-check"),
    "Explore": ("map", "schedule", "compare", "trace", "export", "merge"),
    "Make drafts": ("train-hrad", "count-ngrams", "distill"),
    "Maintain": ("schema", "bench-load", "bench-calibration", "bench-sim"),
}
PARTS = (
    engine.cli,
    calibrate.cli,
    scenarios.cli,
    sim.cli,
    sim.sweeps.cli,
    reports.cli,
    reports.bench.cli,
    reports.load.cli,
    reports.race.cli,
)


class InOrder(TyperGroup):
    """Lists the verbs as `PANELS` does."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [name for names in PANELS.values() for name in names]


app = typer.Typer(cls=InOrder, no_args_is_help=True, pretty_exceptions_enable=False)


def print_version(asked: bool) -> None:
    if asked:
        print(version("specbranch-lab"))
        raise typer.Exit


@app.callback()
def specbranch(
    installed: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", callback=print_version, is_eager=True),
    ] = False,
) -> None:
    """Measure, simulate, choose and verify speculative decoding with parallel branches."""


for part in PARTS:
    for command in part.app.registered_commands:
        command.rich_help_panel = next(panel for panel, names in PANELS.items() if command.name in names)
        app.registered_commands.append(command)


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
