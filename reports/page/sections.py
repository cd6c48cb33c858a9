"""What a page is made of: sections that answer one question each, with charts and the same numbers as tables."""

from collections.abc import Sequence
from dataclasses import dataclass

from reports.page.figure import Chart, Figure, View
from reports.verify.verification import Verification
from sim.search.exports import find_system


@dataclass(frozen=True)
class Table:
    """A table; columns named in `words` hold words, all others numbers. `shown`: not folded away.

    `of`: a chart and a choice of its options, as its views have them: the table is there while these are chosen.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: tuple[str, ...] = ()
    shown: bool = False
    of: tuple[str, str] | None = None

    @property
    def pairs(self) -> bool:
        """Whether it is a list of items and what they are."""
        return len(self.columns) == 2 and self.words == self.columns


@dataclass(frozen=True)
class Section:
    """One question and what the data say; `short` is its name in the page's list, `note` stands under the chart.

    `items`: a list under the finding.
    """

    key: str
    short: str
    title: str
    finding: str
    charts: tuple[Chart, ...] = ()
    tables: tuple[Table, ...] = ()
    note: str = ""
    items: tuple[str, ...] = ()


def pairs(title: str, rows: Sequence[tuple[str, str]]) -> Table:
    """A list of items and what they are."""
    columns = ("item", "value")
    return Table(title, columns, tuple(rows), columns, shown=True)


def single(key: str, label: str, figure: Figure, caption: str, zoom: bool = False) -> Chart:
    """A chart with one view."""
    return Chart(key, label, {"": View(figure, caption)}, zoom=zoom)


def searched(v: Verification) -> str:
    """What the chosen configuration was chosen from."""
    return f"what {find_system(v.system).title} runs" if v.system else "all methods here"


def chosen_how(v: Verification) -> str:
    """How the tokens of its texts were chosen."""
    return f"drawn at temperature {v.temperature:g}" if v.temperature else "the most likely ones"
