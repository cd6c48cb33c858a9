"""What a page is made of: sections that answer one question each, with charts and the same numbers as tables."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from reports.page.figure import Chart, Figure, View
from reports.verify.verification import Verification
from reports.wording import capital
from sim.search.exports import find_system

_FIRST = re.compile(r"(?:(?<=\.) (?=[A-Z])|; )")


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
    """One question and what the data say; `short` is its name in the page's list, `note` says how to read it.

    A page shows the `lead` of a finding, its first sentence, and folds the rest and the note; behind a page's decision
    it folds all of it. `items`: a list under the lead.
    """

    key: str
    short: str
    title: str
    finding: str
    charts: tuple[Chart, ...] = ()
    tables: tuple[Table, ...] = ()
    note: str = ""
    items: tuple[str, ...] = ()

    @property
    def lead(self) -> str:
        """The finding's first sentence, up to a semicolon if it has one."""
        return _FIRST.split(self.finding, maxsplit=1)[0].removesuffix(".") + "."

    @property
    def more(self) -> tuple[str, ...]:
        """What is folded: the rest of the finding, and the note."""
        rest = _FIRST.split(self.finding, maxsplit=1)[1:]
        return tuple(text for text in (*map(capital, rest), self.note) if text)


@dataclass(frozen=True)
class Answers:
    """A page's sections by the question that they answer; the first of `run` has the chart of the decision."""

    run: tuple[Section, ...] = ()
    trust: tuple[Section, ...] = ()
    why: tuple[Section, ...] = ()
    what_if: tuple[Section, ...] = ()
    conditions: tuple[Section, ...] = ()

    @property
    def questions(self) -> list[tuple[str, str, tuple[Section, ...]]]:
        """A name for links, the heading, and the sections, of each question that has any, in a reader's order."""
        every = (
            ("run", "What to run", self.run),
            ("trust", "Can I trust it?", self.trust),
            ("why", "Why?", self.why),
            ("what-if", "What if?", self.what_if),
            ("under", "Conditions", self.conditions),
        )
        return [question for question in every if question[2]]


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
