"""Tables of simulated outcomes as files, CSV or Parquet, that can be gone on with and merged.

A row is known by what it was simulated from: calibration, or what was stated, what-if, workload and configuration.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from math import nan
from pathlib import Path
from typing import Any

from calibrate.artifact import write_whole
from calibrate.file_kinds import TABLE, other_kind
from engine.configuration import Configuration
from engine.errors import ConfigurationError, SpecBranchError
from engine.metrics import Estimate
from scenarios.schema import Scenario
from scenarios.served import ScenarioWorkload
from scenarios.what_if import WhatIf
from sim.search.tune import Tuning
from sim.sweeps.run import Outcome

KEY = ("calibration", "stated", "what_if", "workload", "configuration")
FIGURES = ("tokens_per_second", "speed_up")
# 1: the texts reach farther than costs were measured (`sim.world.reach`), 0: they do not; else unknown
FAR = "far_context"
COLUMNS = (
    *KEY,
    "label",
    *(f"{figure}{end}" for figure in FIGURES for end in ("", "_low", "_high")),
    "rollback_rate",
    "hedge_rate",
    FAR,
)

Row = dict[str, str | float]


def key_of(
    calibration: str, scenario: Scenario, what_if: WhatIf, configuration: Configuration
) -> tuple[str, ...]:
    """What a row is known by; `calibration` is a digest, or empty where acceptance is stated.

    `stated` is what the scenario says in place of a calibration, or beside it: acceptance, costs, hardware.
    """
    stated = scenario.model_dump(
        mode="json",
        include={"acceptance", "costs", "hardware"},
        exclude={"hardware": {"name"}},
        exclude_defaults=True,
    )
    return _key(calibration, stated, what_if, scenario.workload, configuration)


def _key(
    calibration: str,
    stated: dict[str, Any],
    what_if: WhatIf,
    workload: ScenarioWorkload,
    configuration: Configuration,
) -> tuple[str, ...]:
    others = (
        part.model_dump(mode="json", exclude_defaults=True) for part in (what_if, workload, configuration)
    )
    return (calibration, *(json.dumps(part, sort_keys=True) for part in (stated, *others)))


def row_of(calibration: str, scenario: Scenario, outcome: Outcome) -> Row:
    """A scenario's outcome."""
    key = key_of(calibration, scenario, outcome.what_if, outcome.configuration)
    rates = outcome.metrics.rollback_rate, outcome.metrics.hedge_rate
    return _row(key, outcome.configuration, outcome.speed, outcome.speed_up, rates, outcome.far_context)


def rows_of(calibration: str, tuning: Tuning) -> Iterator[Row]:
    """Every configuration of a search, each on the prompts that it was replayed on."""
    for scored in tuning.scored:
        workload = ScenarioWorkload(prompts=len(scored.prompts), seed=tuning.seed)
        key = _key(calibration, {}, tuning.what_if, workload, scored.configuration)
        rates = scored.rollback_rate, scored.hedge_rate
        yield _row(key, scored.configuration, scored.speed, scored.speed_up, rates, scored.far_context)


def _row(
    key: tuple[str, ...],
    configuration: Configuration,
    speed: Estimate,
    speed_up: Estimate,
    rates: tuple[float, float],
    far: bool,
) -> Row:
    figures = (speed.value, speed.low, speed.high, speed_up.value, speed_up.low, speed_up.high)
    return dict(zip(COLUMNS, (*key, configuration.label(), *figures, *rates, float(far)), strict=True))


def read_table(path: Path) -> list[Row]:
    """A table's rows; none if there is no file. SpecBranchError if it is not such a table.

    Tables that were written before texts were held against measured contexts do not say how far theirs reach.
    """
    if not path.exists():
        return []
    columns, rows = _read(path)
    if set(columns) | {FAR} != set(COLUMNS) and path.stat().st_size:
        raise SpecBranchError(
            other_kind(path, TABLE) or f"{path} is no table of simulated outcomes; name another file."
        )
    try:
        return [_typed({FAR: nan, **row}) for row in rows]
    except (TypeError, ValueError) as error:
        raise SpecBranchError(f"{path} is damaged ({error}); name another file.") from error


def _read(path: Path) -> tuple[Sequence[str], list[dict[str, Any]]]:
    """A file's columns and rows, whatever they are. SpecBranchError if it cannot be read as a table."""
    try:
        if path.suffix == ".parquet":
            frame = _pandas().read_parquet(path)
            return list(frame.columns), frame.to_dict("records")
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            return list(reader.fieldnames or ()), list(reader)
    except OSError as error:
        raise SpecBranchError(
            other_kind(path, TABLE) or f"the table {path} cannot be read ({error.strerror or error})."
        ) from error
    except (ValueError, csv.Error) as error:
        raise SpecBranchError(
            other_kind(path, TABLE)
            or f"{path} is no table of simulated outcomes ({error}); name another file."
        ) from error


def write_table(path: Path, rows: Sequence[Row]) -> None:
    """Write a whole table: CSV, or Parquet where the file's name ends so."""
    if path.suffix == ".parquet":
        path.parent.mkdir(parents=True, exist_ok=True)
        _pandas().DataFrame(rows, columns=list(COLUMNS)).to_parquet(path, index=False)
        return
    lines = _Lines()
    writer = csv.DictWriter(lines, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(path, "".join(lines).encode())


def merge(tables: Iterable[Sequence[Row]]) -> list[Row]:
    """All rows, each once, in the order of their keys. SpecBranchError if two of one key disagree.

    Whether a context is far is taken from the row that knows.
    """
    merged: dict[tuple[str, ...], Row] = {}
    for row in (row for table in tables for row in table):
        key = row_key(row)
        known = merged.setdefault(key, row)
        if known[FAR] != known[FAR]:
            known = merged[key] = {**known, FAR: row[FAR]}
        elif row[FAR] != row[FAR]:
            row = {**row, FAR: known[FAR]}
        if any(known[c] != row[c] and not (known[c] != known[c] and row[c] != row[c]) for c in COLUMNS):
            raise SpecBranchError(
                f"two rows of {row['label']} under {row['what_if']} disagree: were they simulated by other versions?"
            )
    return [merged[key] for key in sorted(merged)]


def row_key(row: Row) -> tuple[str, ...]:
    """See `key_of`."""
    return tuple(str(row[column]) for column in KEY)


class _Lines(list[str]):
    """A file of lines in memory, for the csv module."""

    def write(self, line: str) -> None:
        self.append(line)


def _typed(row: dict[str, Any]) -> Row:
    words = (*KEY, "label")
    return {column: str(row[column] or "") if column in words else float(row[column]) for column in COLUMNS}


def _pandas() -> Any:
    try:
        import_module("pyarrow")
        return import_module("pandas")
    except ImportError as error:
        raise ConfigurationError(
            f"Parquet needs pandas and pyarrow ({error}); install 'specbranch-lab[tables]', or name a .csv file."
        ) from error
