"""Names that a package exports and imports only when they are asked for, so that importing the package stays quick.

As lazy_loader does by a stub file: what a package's `if TYPE_CHECKING:` imports, for type checkers, is what it exports.
"""

import ast
import inspect
import sys
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from typing import Any


@cache
def homes(package: str) -> Mapping[str, str]:
    """The module that each exported name comes from, by name in the order in which they stand there."""
    tree = ast.parse(inspect.getsource(import_module(package)))
    blocks = [
        node.body
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    imports = [node for block in blocks for node in block if isinstance(node, ast.ImportFrom)]
    return {name.name: node.module for node in imports for name in node.names if node.module}


def on_demand(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The `__getattr__` and the `__dir__` of a package that exports what it imports for type checkers (PEP 562)."""

    def find(name: str) -> Any:
        home = None if name.startswith("__") else homes(package).get(name)
        if home is None:  # of a module in the package, too, which Python then looks for itself
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(home), name)

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes(package)})

    return find, names
