"""Writes a page about each package, of what it exports, from the docstrings; `make api` puts them into build/api."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pdoc
from pdoc.doc import Class, Doc, Module, Variable
from pdoc.doc_types import empty
from pydantic_core import PydanticUndefined

from engine.exports import homes

PACKAGES = ("engine", "calibrate", "scenarios", "sim", "reports")


def members(one: Class) -> list[Doc[Any]]:
    """Those of a class and of ours that it inherits from, these first."""
    ours = [member for member in one.members.values() if member.taken_from[0].partition(".")[0] in PACKAGES]
    for member in ours:
        if isinstance(member, Variable) and member.default_value is PydanticUndefined:
            member.default_value = empty
    return sorted(ours, key=lambda member: member.taken_from[1].startswith(f"{one.taken_from[1]}."))


def write_pages(out: Path) -> None:
    """Into the folder `out`: a page for each package, an index, and what the search goes by."""
    for name in PACKAGES:
        package = import_module(name)
        for exported in package.__all__:
            setattr(package, exported, getattr(package, exported))  # pdoc shows what is there already
        documented = Module.from_name(name)
        for one in documented.classes:
            one.own_members = members(one)
        for constant in documented.variables:
            source = Module.from_name(homes(name)[constant.name]).get(constant.name)
            constant.docstring = source.docstring if source else ""
    pdoc.render.configure(footer_text="SpecBranch Lab", docformat="markdown")
    pdoc.pdoc(*PACKAGES, output_directory=out)


if __name__ == "__main__":
    write_pages(Path(sys.argv[1]))
