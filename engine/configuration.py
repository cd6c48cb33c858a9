"""A whole configuration: a policy with its settings, the draft, and where the models run. Torch-free."""

from collections.abc import Collection

from pydantic import Field

from engine.errors import ConfigurationError
from engine.placement import Placement
from engine.policies.settings import Settings


class Configuration(Settings):
    """What `simulate`, `tune`, `generate` and `verify` all take; the one schema for them."""

    draft: str | None = Field(default=None, description="the draft by name; none: the pair's first")
    placement: Placement = Field(default="at-once", description="a device for each model, or turns on one")

    def draft_among(self, known: Collection[str]) -> str | None:
        """The draft this means among those known, in order; none where the policy does not draft.

        ConfigurationError if there is no such draft.
        """
        if self.policy == "autoregressive":
            return None
        name = self.draft or next(iter(known), None)
        if name not in known:
            names = ", ".join(known) or "none"
            raise ConfigurationError(f"the pair has no draft '{name}'; its drafts: {names}.")
        return name

    def label(self) -> str:
        """A short name for tables and charts, with what the policy uses and nothing else."""
        parts = [self.policy]
        if self.policy != "autoregressive":
            parts += [self.draft or "", f"g{self.draft_length}"]
            if self.policy == "specbranch":
                parts.append(f"k{self.branches}" + ("a" if self.adaptive_branches else ""))
            if self.min_confidence:
                parts.append(f"c{self.min_confidence:g}")
        return " ".join(part for part in [*parts, self.placement] if part)
