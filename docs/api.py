"""Writes a page about each package, of what it exports, from the docstrings; `make api` puts them into build/api."""

import sys
from importlib import import_module
from pathlib import Path

import pdoc
from pdoc.doc import Module

from engine.exports import homes

PACKAGES = ("engine", "calibrate", "scenarios", "sim", "reports")


def write_pages(out: Path) -> None:
    """Into the folder `out`: a page for each package, an index, and what the search goes by."""
    for name in PACKAGES:
        package = import_module(name)
        for exported in package.__all__:
            setattr(package, exported, getattr(package, exported))  # pdoc shows what is there already
        for one in Module.from_name(name).classes:  # with what it inherits from a class of ours
            one.own_members = [
                m for m in one.members.values() if m.taken_from[0].partition(".")[0] in PACKAGES
            ]
        for constant in Module.from_name(name).variables:
            source = Module.from_name(homes(name)[constant.name]).get(constant.name)
            constant.docstring = source.docstring if source else ""
    pdoc.render.configure(footer_text="SpecBranch Lab", docformat="markdown")
    pdoc.pdoc(*PACKAGES, output_directory=out)


if __name__ == "__main__":
    write_pages(Path(sys.argv[1]))
