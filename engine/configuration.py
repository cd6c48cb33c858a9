"""A whole configuration: a policy with its settings, the draft, and where the models run. Torch-free."""

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from pydantic import Field

from engine.errors import ConfigurationError
from engine.policies import uses
from engine.policies.settings import Settings
from engine.runtime.placement import Placement


class Configuration(Settings):
    """What `simulate`, `tune`, `generate` and `verify` all take; the one schema for them."""

    draft: str | None = Field(default=None, description="the draft by name; none: the pair's first")
    placement: Placement = Field(default="at-once", description="a device for each model, or turns on one")

    @property
    def uses(self) -> frozenset[str]:
        """The fields that the policy depends on; ConfigurationError if there is no such policy."""
        return uses(self.policy)

    @property
    def drafts(self) -> bool:
        """Whether the policy drafts at all, with a model or without."""
        return bool(self.uses)

    @property
    def draws_drafts(self) -> bool:
        """Whether draft tokens are drawn, where there is a temperature."""
        return self.draw_drafts and "draw_drafts" in self.uses

    @property
    def reads_text(self) -> str | None:
        """The key by which the policy guesses from the text's own tokens; none: it only compares them."""
        if "longest_match" in self.uses:
            return "policy"
        return next((key for key in ("guesses", "repeats") if key in self.uses and getattr(self, key)), None)

    @property
    def shares_device(self) -> bool:
        """Whether target and draft take turns on one device."""
        return self.placement == "in-turn" and "draft" in self.uses

    def draft_among(self, known: Collection[str]) -> str | None:
        """The draft this means among those known, in order; none where the policy does not draft.

        ConfigurationError if there is no such draft.
        """
        if "draft" not in self.uses:
            return None
        name = self.draft or next(iter(known), None)
        if name not in known:
            names = ", ".join(known) or "none"
            raise ConfigurationError(f"the pair has no draft '{name}'; its drafts: {names}.")
        return name

    def label(self) -> str:
        """A short name for tables and charts, with what the policy uses and nothing else."""
        used = [
            name.short.format(value) + ("a" if name.field == "branches" and self.adaptive_branches else "")
            for name, value in self.said()
        ]
        return " ".join([self.policy, *used, self.placement])

    def said(self) -> Iterator[tuple["FieldName", Any]]:
        """The fields that the policy uses and that change what it does, each with its value."""
        for name in FIELD_NAMES:
            value = getattr(self, name.field)
            if name.field in self.uses and (value or name.field == "min_bound"):
                yield name, value


class FieldName(NamedTuple):
    """How a field of a configuration is called, by formats of its value: `short` in a label, `words` for people.

    `meaning`: of the letter that the short form begins with; none: it is a word.
    """

    field: str
    short: str
    words: str
    meaning: str = ""


FIELD_NAMES = (
    FieldName("draft", "{}", "{} draft"),
    FieldName("draft_length", "g{}", "length {}", "tokens of a draft"),
    FieldName("branches", "k{}", "{} branch", "branches, with an a up to so many"),
    FieldName(
        "min_confidence", "c{:g}", "cut under {:g}", "drafts are cut before a token of less confidence"
    ),
    FieldName("min_bound", "b{:g}", "bound {:g}", "drafts are cut where the bound on acceptance is less"),
    FieldName("tree_nodes", "t{}", "{} nodes", "nodes of a tree at most"),
    FieldName(
        "rank_acceptance",
        "p{}",
        "for ranks accepted {}",
        "shares at which the target's token is the draft's first candidate, second, and so on",
    ),
    FieldName(
        "lengths_by_load", "l{}", "lengths by requests {}", "tokens of a draft by how many requests run"
    ),
    FieldName("gates", "d{}", "gates {}", "depths at which a draft goes on if it gives its line more"),
    FieldName("tree_width", "w{}", "width {}", "candidates where a draft stopped at most"),
    FieldName("batch_nodes", "j{}", "{} nodes a forward", "nodes of all requests that a forward judges"),
    FieldName("longest_match", "m{}", "matching {}", "tokens to match at most"),
    FieldName("first_match", "first", "first match"),
    FieldName("guesses", "n{}", "guesses {}", "guesses that a draft forward checks at most"),
    FieldName("repeats", "r{}", "repetitions {}", "tokens of repetitions that lengthen a line at most"),
    FieldName(
        "second_under",
        "s{:g}",
        "second choices under {:g}",
        "second choices are judged where the first has less confidence",
    ),
    FieldName("hrad", "hrad", "H-RAD"),
    FieldName("redraft", "redraft", "redrafting"),
    FieldName("draw_drafts", "drawn", "drawn drafts"),
)
