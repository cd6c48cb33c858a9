"""What a user can wish to be otherwise; the one schema for scenarios, replays and tuning."""

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

TOKEN_BYTES = 4
HEADER_BYTES = 64


class Link(BaseModel):
    """A network between the target, where the text is kept, and a draft on a device of its own.

    A draft job costs a message each way. A message takes `latency_ms`, and carries 4 bytes for each token and
    a header of 64 bytes at `megabits_per_second`. The first one brings the prompt. A draft that shares the
    target's device has no link.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    latency_ms: float = Field(ge=0, description="one way")
    megabits_per_second: float = Field(gt=0)

    def seconds(self, tokens: NDArray[np.int64]) -> NDArray[np.float64]:
        """Messages with so many tokens each."""
        bits = 8 * (HEADER_BYTES + TOKEN_BYTES * tokens)
        return self.latency_ms / 1e3 + bits / (self.megabits_per_second * 1e6)


class WhatIf(BaseModel):
    """Changes to a calibration or to stated costs; the defaults change nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    target_speed: float = Field(default=1.0, gt=0, description="the target's speed over the measured one")
    draft_speed: float = Field(default=1.0, gt=0, description="the draft's speed over the measured one")
    alignment: float | None = Field(
        default=None, ge=0, le=1, description="mean share of positions where the draft's first token is right"
    )
    link: Link | None = Field(default=None, description="a network between target and draft")
    temperature: float = Field(
        default=0.0, ge=0, description="of the texts; 0: greedy ones, else those that the calibration drew"
    )
    contention: bool = Field(default=True, description="models that run at once slow each other as measured")
    overheads: bool = Field(
        default=True, description="hand-over, fork, starting behind a pause, and the spread of durations"
    )
    jitter: bool = Field(default=True, description="durations vary as measured; off: medians")

    def label(self) -> str:
        """What it changes, in words for a table; empty if nothing."""
        parts = []
        if self.target_speed != 1.0:
            parts.append(f"target x{self.target_speed:g}")
        if self.draft_speed != 1.0:
            parts.append(f"draft x{self.draft_speed:g}")
        if self.alignment is not None:
            parts.append(f"alignment {self.alignment:.0%}")
        if self.link is not None:
            parts.append(f"link {self.link.latency_ms:g} ms {self.link.megabits_per_second:g} Mbit/s")
        if self.temperature:
            parts.append(f"temperature {self.temperature:g}")
        for name in ("contention", "overheads", "jitter"):
            if not getattr(self, name):
                parts.append(f"no {name}")
        return ", ".join(parts)
