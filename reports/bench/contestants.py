"""Who competes in a benchmark, with which settings, and under which budget of cores or devices. Torch-free.

A contestant that is not there yet is a line in `ENTRIES`.
"""

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from engine.configuration import Configuration
from engine.models.sampling import Sampling
from engine.runtime.placement import Placement, candidate_placements
from reports.bench.peers import Peer

Mode = Literal["greedy", "sampled"]
MODES: tuple[Mode, ...] = ("greedy", "sampled")
TEMPERATURE = 1.0
AUTOREGRESSIVE, GENERATE = "autoregressive", "transformers generate"


class Contestant(BaseModel):
    """One way to write a text: ours or transformers', on the given cores (one thread each), none: on CUDA devices."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Configuration | Peer
    cores: tuple[int, ...]

    @property
    def ours(self) -> bool:
        """Whether it is our engine's."""
        return isinstance(self.method, Configuration)

    @property
    def draft(self) -> str | None:
        """The draft's name, where one is used."""
        return self.method.draft

    def label(self) -> str:
        """A short name for tables, with the number of cores if there are some."""
        cores = f", {len(self.cores)} core{'s' if len(self.cores) > 1 else ''}" if self.cores else ""
        return self.method.label() + cores


@dataclass(frozen=True)
class Budget:
    """What may be used: `in_turn` cores where one model computes at a time, `at_once` where both do (or none).

    `parallel`: the placements that may be tried where both do, likeliest first.
    """

    number: int
    title: str
    in_turn: tuple[int, ...]
    at_once: tuple[int, ...] | None
    parallel: tuple[Placement, ...] = ("at-once",)


def budgets_of(cores: Sequence[int], cuda_devices: int = 0) -> tuple[Budget, ...]:
    """The two budgets of a machine; on its cores, placements at once need two of them or more.

    Where there are CUDA devices, both budgets are the same, and no cores are shared out: a target never has more than
    one device, and whether a draft has another depends on how many there are.
    """
    if cuda_devices:
        title = "the target on one CUDA device" + (", drafts at once on another" if cuda_devices > 1 else "")
        parallel = tuple(p for p in reversed(candidate_placements(cores, cuda_devices)) if p != "in-turn")
        return tuple(Budget(number, title, (), (), parallel) for number in (1, 2))
    one, several = tuple(cores[:1]), tuple(cores)
    return (
        Budget(1, "the target on one core", one, several[:2] if len(several) > 1 else None),
        Budget(2, "all cores", several, several if len(several) > 1 else None),
    )


@dataclass(frozen=True, eq=False)
class Entry:
    """A row of the competition: a method, and the settings among which its best one is chosen, likeliest first.

    `per_draft`: a row for each draft, in these modes; elsewhere the draft is one more setting. `alone`: its row of
    the first budget stands in the second one too. `balanced`: not chosen, but PEARL's ratio of times. `predicts`:
    only for drafts with an H-RAD network.
    """

    name: str
    peer: bool = False
    fixed: Mapping[str, Any] = field(default_factory=dict)
    grid: tuple[Mapping[str, Any], ...] = ({},)
    drafts: bool = False
    at_once: bool = False
    per_draft: tuple[Mode, ...] = ()
    alone: bool = False
    balanced: bool = False
    predicts: bool = False

    def cores(self, budget: Budget) -> tuple[int, ...] | None:
        """The cores that a budget allows it; none: it cannot run there."""
        return budget.at_once if self.at_once else budget.in_turn

    def contestants(self, budget: Budget, drafts: Sequence[str]) -> tuple[Contestant, ...]:
        """Every setting with every draft in every placement, settings first; none where the budget has no room."""
        if (cores := self.cores(budget)) is None:
            return ()
        made = []
        for settings, draft, placement in itertools.product(
            self.grid,
            drafts if self.drafts else (None,),
            budget.parallel if self.at_once else ("in-turn",),
        ):
            given = {**self.fixed, **settings, **({"draft": draft} if draft else {})}
            method = Peer(**given) if self.peer else Configuration(**given, placement=placement)
            made.append(Contestant(method=method, cores=cores))
        return tuple(made)


def _grid(**values: Sequence[Any]) -> tuple[Mapping[str, Any], ...]:
    return tuple(dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values()))


_GUESSES = {"guesses": 2, "repeats": 7}
_LENGTHS = _grid(draft_length=(2, 3, 4, 1, 6))
ENTRIES = (
    Entry(GENERATE, True, {"method": "generate"}, alone=True,
          grid=({}, {"attention": "eager"}, {"static_cache": True})),
    Entry("transformers assisted", True, {"method": "assisted"}, drafts=True, per_draft=("greedy",),
          grid=({}, *_grid(tokens=(2, 4, 1, 8), min_confidence=(0.0,)),
                {"tokens": 5, "schedule": "heuristic", "min_confidence": 0.0})),
    Entry("transformers prompt lookup", True, {"method": "prompt-lookup"},
          grid=_grid(tokens=(3, 8), longest_match=(None, 3))),
    Entry(AUTOREGRESSIVE, fixed={"policy": "autoregressive"}, alone=True),
    Entry("prompt lookup", fixed={"policy": "prompt-lookup"},
          grid=_grid(draft_length=(3, 8), longest_match=(3, 2))),
    Entry("prompt lookup, guesses", fixed={"policy": "prompt-lookup"},
          grid=_grid(draft_length=(7,), longest_match=(3, 2), guesses=(3, 2))),
    Entry("speculative", fixed={"policy": "speculative"}, drafts=True, per_draft=("greedy",), grid=_LENGTHS),
    Entry("speculative, guesses", fixed={"policy": "speculative", **_GUESSES}, drafts=True,
          per_draft=("greedy",), grid=_grid(draft_length=(3, 2, 5), second_under=(0.5, 0.0))),
    Entry("speculative, cut", fixed={"policy": "speculative"}, drafts=True, per_draft=("greedy",),
          grid=_grid(draft_length=(6,), min_confidence=(0.5, 0.3, 0.7, 0.9))),
    Entry("AdaEDL", fixed={"policy": "adaedl"}, drafts=True, per_draft=("greedy",),
          grid=_grid(draft_length=(6,), min_bound=(0.4, 0.2, 0.6))),
    Entry("PEARL", fixed={"policy": "pearl"}, drafts=True, at_once=True, per_draft=MODES,
          grid=_grid(draft_length=(3, 2, 4, 6))),
    Entry("PEARL, its own length", fixed={"policy": "pearl"}, drafts=True, at_once=True, per_draft=MODES,
          balanced=True),
    Entry("PEARL, guesses", fixed={"policy": "pearl", **_GUESSES}, drafts=True, at_once=True,
          per_draft=MODES, grid=_grid(draft_length=(3, 2, 4), second_under=(0.5, 0.0))),
    Entry("SpecBranch", fixed={"policy": "specbranch"}, drafts=True, at_once=True, per_draft=MODES,
          grid=({"draft_length": 3, "branches": 4, "adaptive_branches": False},
                {"draft_length": 3, "branches": 2, "adaptive_branches": False},
                {"draft_length": 2, "branches": 4, "adaptive_branches": False},
                {"draft_length": 4, "branches": 4, "adaptive_branches": False},
                {"draft_length": 3, "branches": 6},
                {"draft_length": 4, "branches": 4, "min_confidence": 0.3},
                {"draft_length": 6, "branches": 6, "min_confidence": 0.5})),
    Entry("SpecBranch, redrafting", fixed={"policy": "specbranch", "redraft": True}, drafts=True, at_once=True,
          per_draft=MODES,
          grid=({"draft_length": 3, "branches": 1},
                {"draft_length": 2, "branches": 1},
                {"draft_length": 3, "branches": 2, "adaptive_branches": False},
                {"draft_length": 3, "branches": 4, "adaptive_branches": False},
                {"draft_length": 4, "branches": 1},
                {"draft_length": 4, "branches": 4, "min_confidence": 0.3},
                {"draft_length": 6, "branches": 2, "adaptive_branches": False, "min_confidence": 0.5})),
    Entry("SpecBranch, redrafting, guesses", fixed={"policy": "specbranch", "redraft": True, **_GUESSES},
          drafts=True, at_once=True, per_draft=MODES,
          grid=({"draft_length": 3, "branches": 1, "second_under": 0.5},
                {"draft_length": 3, "branches": 1},
                {"draft_length": 2, "branches": 1, "second_under": 0.5},
                {"draft_length": 3, "branches": 2, "adaptive_branches": False, "second_under": 0.5},
                {"draft_length": 4, "branches": 1, "second_under": 0.5},
                {"draft_length": 3, "branches": 1, "second_under": 0.8})),
    Entry("SpecBranch, H-RAD", fixed={"policy": "specbranch", "hrad": True}, drafts=True, at_once=True,
          per_draft=MODES, predicts=True,
          grid=({"draft_length": 4, "branches": 4, "min_confidence": 0.5},
                {"draft_length": 3, "branches": 4, "min_confidence": 0.3},
                {"draft_length": 6, "branches": 4, "min_confidence": 0.5},
                {"draft_length": 6, "branches": 6, "min_confidence": 0.7})),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Family:
    """One row to be: an entry in a mode on given cores, with a draft of its own or with any; its candidates."""

    entry: Entry
    mode: Mode
    budgets: tuple[int, ...]
    cores: tuple[int, ...]
    draft: str | None
    candidates: tuple[Contestant, ...]

    @property
    def key(self) -> str:
        """A name that no other family has."""
        parts = (self.entry.name, self.draft or "any draft", f"{len(self.cores)} cores", self.mode)
        return ", ".join(parts)


def families(
    mode: Mode,
    budgets: Sequence[Budget],
    drafts: Sequence[str],
    predictors: Collection[str] = (),
    most: int | None = None,
    entries: Sequence[Entry] = ENTRIES,
) -> tuple[Family, ...]:
    """All rows of a mode; a row that two budgets would run alike is one row of both.

    `predictors`: the drafts with an H-RAD network. `most`: the candidates that each one has at most, for a quick run.
    """
    found: dict[tuple[str, tuple[int, ...], str | None], Family] = {}
    for budget, entry in itertools.product(budgets, entries):
        cores = entry.cores(budget)
        usable = [name for name in drafts if name in predictors or not entry.predicts]
        if cores is None or (entry.drafts and not usable):
            continue
        separate = entry.drafts and mode in entry.per_draft
        for group in [[name] for name in usable] if separate else [usable]:
            draft = group[0] if separate else None
            key = entry.name, cores, draft
            numbers = (*found[key].budgets, budget.number) if key in found else (budget.number,)
            if entry.alone and budget.number == 1:
                numbers = (1, 2)
            elif key in found and entry.alone:
                continue  # on one core, both budgets are the same
            candidates = entry.contestants(budget, group)[:most]
            found[key] = Family(entry, mode, numbers, cores, draft, candidates)
    return tuple(found.values())


def at_length(family: Family, draft_length: int) -> Family:
    """The same with this draft length for every candidate."""
    candidates = tuple(
        c.model_copy(update={"method": c.method.model_copy(update={"draft_length": draft_length})})
        for c in family.candidates
    )
    return replace(family, candidates=candidates)


def drawn(contestant: Contestant) -> Contestant | None:
    """The same with draft tokens that are drawn, where its policy can."""
    method = contestant.method
    if not isinstance(method, Configuration) or "draw_drafts" not in method.uses:
        return None
    return contestant.model_copy(update={"method": method.model_copy(update={"draw_drafts": True})})


def sampling_of(mode: Mode, seed: int) -> Sampling:
    """How a mode chooses tokens."""
    return Sampling(temperature=TEMPERATURE if mode == "sampled" else 0.0, seed=seed)
