"""The revision of the engine: a number that changes when what is timed and recorded may change. Torch-free.

A calibration is of the code that it timed as well as of weights and a machine: a faster kernel makes its costs wrong,
and another rounding its traces. A number kept by hand is forgotten, and a hash of files changes with every comment. So
it is a hash over the *syntax* of the modules that a worker runs while it is measured, without comments, docstrings and
layout. They are found by their imports, from the functions that time and record, so that none is left out. Two are, on
purpose: policies decide what is asked of the models, and neither what that costs nor what comes of it; what makes the
default pair makes weights, which have a hash of their own.

A change of these modules' syntax need not change a cost, and nobody can tell without measuring. So another revision
makes no calibration useless: whoever replays one is told, and `specbranch calibrate` says so instead of measuring anew.
"""

import ast
import hashlib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
MEASURING = (
    "calibrate.costs.operations",
    "calibrate.traces.observation",
)  # what runs in a worker to time and to record
PACKAGE, APART = (
    "engine.",
    ("engine.policies", "engine.drafts.default_pair", "engine.drafts.distill", "engine.drafts.self_written"),
)
DIGITS = 12  # of the hash, in hex


@cache
def engine_revision() -> str:
    """Of the code that runs here."""
    return revision_of(measured_modules())


def revision_of(modules: Mapping[str, ast.Module]) -> str:
    """Of modules by name, whatever their order."""
    digest = hashlib.sha256()
    for name in sorted(modules):
        words = [name]
        _note_syntax(modules[name], words)
        digest.update("\n".join(words).encode())
    return digest.hexdigest()[:DIGITS]


def measured_modules() -> dict[str, ast.Module]:
    """The modules that are run where costs are timed and traces recorded, by name."""
    found: dict[str, ast.Module] = {}
    left = list(MEASURING)
    while left:
        name = left.pop()
        path = None if name in found else _file(name)
        if path is not None:
            found[name] = ast.parse(path.read_text(encoding="utf-8"))
            left += _imported(found[name])
    return found


def _file(module: str) -> Path | None:
    """Where a module is; None if it is no part of what is measured."""
    apart = any(f"{module}.".startswith(f"{name}.") for name in APART)
    if apart or not (module.startswith(PACKAGE) or module in MEASURING):
        return None
    stem = ROOT.joinpath(*module.split("."))
    return next((file for file in (stem.with_suffix(".py"), stem / "__init__.py") if file.is_file()), None)


def _imported(tree: ast.Module) -> Iterator[str]:
    """The names that a module imports anywhere in it, also within functions; some may be no modules."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _note_syntax(node: object, words: list[str]) -> None:
    """Add a syntax tree in words, without positions, docstrings and what is empty: the same under every Python."""
    if isinstance(node, ast.AST):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            return  # a docstring, or nothing that does anything
        words.append(type(node).__name__)
        for name in node._fields:
            value = getattr(node, name, None)
            if value is not None and value != []:
                words.append(name)
                _note_syntax(value, words)
        words.append(".")
    elif isinstance(node, list):
        for part in node:
            _note_syntax(part, words)
        words.append(".")
    else:
        words.append(repr(node))
