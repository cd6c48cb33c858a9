"""Folders in which one file, `calibration.json`, said everything: how its record becomes those of two. Torch-free.

They were written up to version 12, and load for ever. What costs and traces each say of what measured them is what that
file said of both, and its seal is the name of both.
"""

from calibrate.versions import History, Json, unchanged

NAME = "calibration.json"
# 8 added the tokens that a draft's head keeps, 9 and 10 settings and what drafts guess by, 11 models' positions and the
# engine's revision, 12 deepened targets and what has to be said of them; what a record lacks of these is what its
# defaults say.
VERSIONS = History(
    present=12,
    migrations=dict.fromkeys((7, 8, 9, 10, 11), unchanged),
    too_old="up to version 6 the models were timed at once without the pauses that a generation has, which made "
    "predictions up to a fifth too fast",
)
_OF_COSTS = ("placements", "reference_seconds", "rehearsals", "notes")
_OF_TRACES = ("prompts", "max_tokens", "temperature", "sampled_tokens")
_CELLS = ("target", "draw", "foresight", "forward", "branch", "burst", "fork")


def costs_of(record: Json) -> Json:
    """The record of the costs in one of version 12."""
    costs = {key: value for key, value in record.items() if key not in (*_OF_TRACES, "traces_sha256")}
    placements = [
        _with_coordinates(placed) | {"drafts": {n: _with_coordinates(d) for n, d in placed["drafts"].items()}}
        for placed in record["placements"]
    ]
    return costs | {"version": 1, "placements": placements}


def traces_of(record: Json) -> Json:
    """The record of the traces in one of version 12."""
    traces = {key: value for key, value in record.items() if key not in (*_OF_COSTS, "traces_sha256")}
    return traces | {"version": 1, "arrays_sha256": record["traces_sha256"]}


def _with_coordinates(costs: Json) -> Json:
    """Costs whose cells, all of one sequence, say so. `rollback`, which no replay asks for, is left out."""
    return {
        key: [_cell(cell) for cell in value] if key in _CELLS else value
        for key, value in costs.items()
        if key != "rollback"
    }


def _cell(cell: Json) -> Json:
    rest = {key: value for key, value in cell.items() if key not in ("tokens", "context")}
    return {"rows": cell["tokens"], "sequences": 1, "cache_tokens": cell["context"], **rest}
