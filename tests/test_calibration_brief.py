"""What `calibrate` ends with: one screen that says what decides most."""

import io
from statistics import median

from rich.console import Console
from verifications import artifact

from calibrate.cost_records import step_of
from calibrate.traces.acceptance_statistics import acceptance_statistics
from engine.models.specs import TARGET
from reports.calibration_brief import print_brief
from reports.tables import WIDTH
from reports.wording import number, percent

SCREEN = 40  # lines


def printed(width: int = WIDTH) -> str:
    text = io.StringIO()
    print_brief(
        Console(width=width, file=text, force_terminal=False), artifact(), "specbranch inspect runs/mine"
    )
    return text.getvalue()


def test_it_fits_a_screen_and_says_where_the_rest_is() -> None:
    for width in (80, WIDTH):
        lines = printed(width).splitlines()
        assert len(lines) <= SCREEN
        assert max(map(len, lines)) <= width
        assert lines[-1] == "Everything that was measured: specbranch inspect runs/mine"


def test_a_row_has_a_models_step_and_how_often_it_is_right() -> None:
    made, text = artifact(), printed(160)
    rows = {line.split("\u2502")[1].strip(): line for line in text.splitlines() if line.startswith("\u2502")}
    for costs in made.costs.placements:
        assert number(1e3 * median(step_of(costs, TARGET).seconds)) in rows[TARGET]
    for found in acceptance_statistics(made):
        assert percent(found.overall.within[0].value) in rows[found.draft]


def test_a_note_is_as_it_is_and_not_markup() -> None:
    assert "Synthetic note </script>" in printed()
