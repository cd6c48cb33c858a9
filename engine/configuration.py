"""A whole configuration: a policy with its settings, the draft, and where the models run. Torch-free."""

from collections.abc import Collection

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
        parts = {
            "draft": self.draft or "",
            "draft_length": f"g{self.draft_length}",
            "branches": f"k{self.branches}" + ("a" if self.adaptive_branches else ""),
            "min_confidence": f"c{self.min_confidence:g}" if self.min_confidence else "",
            "min_bound": f"b{self.min_bound:g}",
            "longest_match": f"m{self.longest_match}",
            "first_match": "first" if self.first_match else "",
            "guesses": f"n{self.guesses}" if self.guesses else "",
            "repeats": f"r{self.repeats}" if self.repeats else "",
            "second_under": f"s{self.second_under:g}" if self.second_under else "",
            "hrad": "hrad" if self.hrad else "",
            "redraft": "redraft" if self.redraft else "",
            "draw_drafts": "drawn" if self.draw_drafts else "",
        }
        used = [part for name, part in parts.items() if name in self.uses]
        return " ".join(part for part in [self.policy, *used, self.placement] if part)
