"""What a file or a folder is that a user names, if a verb of this program writes or reads such ones. Torch-free.

    other = other_kind(path, VERIFICATION)   # "x.yaml is a choice of 'specbranch tune', where a record of ..."

Verbs read what others wrote, and a name says little of it. So where something cannot be read as what a verb wants, the
error says what it is, by what is in it, and what to do with it. It is asked when reading has failed, and not before.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from calibrate import one_file
from engine.errors import ConfigurationError

COSTS_NAME, TRACES_NAME, ARRAYS_NAME = "costs.json", "traces.json", "traces.safetensors"
MOST_YAML = 1 << 20  # bytes; reading more of it takes seconds, and none of ours is as long
Form = Literal["a JSON file", "a YAML file", "a file of comma-separated values", "a folder", "a file"]


@dataclass(frozen=True)
class FileKind:
    """A kind of file or folder: its `name` with an article, how it is written, what to `use` one for, and its `source`.

    The last two are clauses of a sentence; in `use`, `{path}` stands for the one that was named, and `{folder}` for
    where that is. `source` is empty of what no verb asks for by this module.
    """

    name: str
    form: Form
    use: str
    source: str = ""


CALIBRATION = FileKind(
    "a calibration's folder",
    "a folder",
    "'specbranch inspect {path}' prints what is in it",
    "'specbranch calibrate' writes one",
)
PART = FileKind("a part of a calibration", "a file", "a calibration is a folder: name {folder}")
MODEL = FileKind("a model's folder", "a folder", "'--target {path}' names it as the target")
VERIFICATION = FileKind(
    "a record of 'specbranch verify'",
    "a JSON file",
    "'specbranch report {path}' makes a page of it",
    "run 'specbranch verify' first, which writes such records",
)
LOAD_VERIFICATION = FileKind(
    "a record of 'specbranch verify-load'",
    "a JSON file",
    "its page is what 'specbranch verify-load' writes with --page",
    "run 'specbranch verify-load' first, which writes such records",
)
BENCHMARK = FileKind(
    "a record of 'specbranch bench'",
    "a JSON file",
    "'specbranch bench --show {path}' prints it",
    "run 'specbranch bench' first, which writes one",
)
MAP_POINTS = FileKind(
    "a file of a map's points", "a JSON file", "'specbranch map --points {path}' draws them on one"
)
CHROME_TRACE = FileKind("a trace of 'specbranch trace'", "a JSON file", "Perfetto (ui.perfetto.dev) opens it")
TUNED = FileKind(
    "a choice of 'specbranch tune'",
    "a YAML file",
    "'specbranch verify {path}' runs it",
    "'specbranch tune' writes one",
)
SCHEDULE = FileKind(
    "a choice by load of 'specbranch schedule'",
    "a YAML file",
    "'specbranch export {path}' prints it for a serving system",
    "'specbranch schedule' writes one",
)
SCENARIO = FileKind(
    "a scenario",
    "a YAML file",
    "'specbranch simulate {path}' replays it",
    "'specbranch schema' prints what one may say",
)
TOLERANCE = FileKind(
    "a file of a verdict's bounds",
    "a YAML file",
    "'specbranch verify --tolerance {path}' judges by it",
    "a share such as 0.10 does as well",
)
TABLE = FileKind(
    "a table of simulated outcomes",
    "a file of comma-separated values",
    "'specbranch merge {path} OTHER.csv --out BOTH.csv' unites it with another",
    "name another file",
)
ARRIVALS = FileKind(
    "a trace of requests",
    "a file of comma-separated values",
    "'specbranch serve-bench --arrivals {path}' serves them",
)
PROMPTS = FileKind(
    "a file of prompts",
    "a file",
    "'specbranch calibrate --own-prompts {path}' measures on them",
    "name one with --own-prompts",
)
PAGE = FileKind("a page", "a file", "a browser opens it")

# By the keys that only they have at their top; the first that fits.
_BY_KEYS: tuple[tuple[FileKind, frozenset[str]], ...] = (
    (VERIFICATION, frozenset({"version", "compared"})),
    (LOAD_VERIFICATION, frozenset({"compared", "pace"})),
    (BENCHMARK, frozenset({"budgets", "rows", "trials"})),
    (MAP_POINTS, frozenset({"version", "points"})),
    (CHROME_TRACE, frozenset({"traceEvents"})),
    (PART, frozenset({"seal", "target", "drafts"})),
    (SCHEDULE, frozenset({"stretches"})),
    (TUNED, frozenset({"calibration_digest", "chosen"})),
    (SCENARIO, frozenset({"configurations"})),
    (TOLERANCE, frozenset({"median_error"})),
    (TOLERANCE, frozenset({"tail_error"})),
)
_BY_COLUMNS: tuple[tuple[FileKind, frozenset[str]], ...] = (
    (TABLE, frozenset({"calibration", "what_if", "configuration"})),
    (ARRIVALS, frozenset({"arrived_at", "num_prefill_tokens"})),
)
TEXT_FIELDS = ("text", "prompt", "question", "turns")  # of a prompt's line


def other_kind(path: Path, wanted: FileKind) -> str | None:
    """A sentence for who named a path where something else is `wanted`.

    None where it is what is wanted, though damaged, where nothing is there, and where nothing is known of it.
    """
    found, form = kind_of(path), form_of(path)
    if found == wanted or form is None:
        return None
    if found is not None:
        use = found.use.format(path=path, folder=path.parent)
        return f"{path} is {found.name}, where {wanted.name} is wanted; {use}."
    if "a file" in (form, wanted.form) or form == wanted.form:
        return None
    return f"{path} is {form}, where {wanted.name} is wanted; {wanted.source}."


@contextmanager
def reading(path: Path, wanted: FileKind) -> Iterator[None]:
    """While what is `wanted` is read from a path: a ConfigurationError says what it is, if it is something else."""
    try:
        yield
    except ConfigurationError as error:
        if other := other_kind(path, wanted):
            raise ConfigurationError(other) from error
        raise


def kind_of(path: Path) -> FileKind | None:
    """What a path is, if it is one of the kinds above; None where it is none, or cannot be read."""
    if path.is_dir():
        if any((path / name).is_file() for name in (COSTS_NAME, one_file.NAME)):
            return CALIBRATION
        return MODEL if (path / "config.json").is_file() else None
    if path.name == ARRAYS_NAME and (path.parent / TRACES_NAME).is_file():
        return PART
    text = _text(path)
    if text is None:
        return None
    if text.lstrip()[:14].lower() == "<!doctype html":
        return PAGE
    first = text.lstrip().partition("\n")[0]
    if its := _first_of(_BY_COLUMNS, first.split(",")):
        return its
    if its := _first_of(_BY_KEYS, _mapping(text)):
        return its
    line = _read(json.loads, first)
    return PROMPTS if line and any(name in line for name in TEXT_FIELDS) else None


def form_of(path: Path) -> Form | None:
    """How what a path names is written; None if there is nothing that can be read."""
    if path.is_dir():
        return "a folder"
    text = _text(path)
    if text is None:
        return "a file" if path.exists() else None
    if text.lstrip()[:1] in ("{", "["):
        return "a JSON file"
    if path.suffix in (".yaml", ".yml") or _mapping(text):
        return "a YAML file"
    return "a file of comma-separated values" if path.suffix == ".csv" else "a file"


def _text(path: Path) -> str | None:
    """What a file says, if it is a text."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _first_of(known: tuple[tuple[FileKind, frozenset[str]], ...], names: object) -> FileKind | None:
    """The first kind all of whose names are there."""
    there = set(names) if isinstance(names, list | dict) else set()
    return next((kind for kind, its in known if its <= there), None)


def _mapping(text: str) -> Mapping[str, Any]:
    """A text as JSON or YAML, if it is a mapping; else an empty one."""
    if text.lstrip().startswith("{"):
        return _read(json.loads, text)
    if len(text) > MOST_YAML:
        return {}
    import yaml  # here, since few errors need it

    return _read(yaml.safe_load, text)


def _read(reader: Callable[[str], object], text: str) -> Mapping[str, Any]:
    """What a reader makes of a text, if that is a mapping; else an empty one."""
    try:
        found = reader(text)
    except (
        Exception
    ):  # of whatever it is, none of these readers makes a mapping; who asks has an error already
        return {}
    return found if isinstance(found, dict) else {}
