"""Hardware that is not at hand, as a scenario states it: published times of layers, or a roofline.

All of it is extrapolated, and `Hardware.notes` say so aloud.
"""

import math
from functools import cached_property
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema, PydanticCustomError


class _Stated(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class _OrFile:
    """In an editor's schema: the mapping, or the name of a file that holds it."""

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        name = {"type": "string", "description": "a shipped one by name, or a file beside the scenario"}
        return {"anyOf": [name, handler(core_schema)]}


class Figure(_Stated):
    """A number, and where it is from."""

    value: float = Field(gt=0)
    source: str = Field(min_length=1)


class LayerTime(_Stated):
    """Milliseconds of one layer in a forward over `tokens` tokens, and where they are from."""

    tokens: int = Field(ge=1)
    ms: float = Field(gt=0)
    source: str = Field(min_length=1)


class Profile(_Stated):
    """Published times of a model's layers on some hardware, and what they leave out."""

    title: str
    layers: int = Field(ge=1)
    devices: int = Field(default=1, ge=1, description="in tensor parallel")
    source: str
    excludes: tuple[str, ...] = ()
    layer_ms: tuple[LayerTime, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _once_each(self) -> "Profile":
        counts = [time.tokens for time in self.layer_ms]
        if len(set(counts)) < len(counts):
            raise PydanticCustomError("twice", "each count of tokens may have one time only")
        return self

    @cached_property
    def fitted(self) -> tuple[list[int], list[float]]:
        """Counts of tokens, and the nearest times (ms of a layer, least squares) that never fall."""
        ordered = sorted(self.layer_ms, key=lambda time: time.tokens)
        from scipy.optimize import isotonic_regression  # here, since it takes half a second to import

        fit = isotonic_regression([time.ms for time in ordered]).x
        return [time.tokens for time in ordered], [float(ms) for ms in fit]

    def layer(self, tokens: int) -> float:
        """Milliseconds of a layer: linear between the fitted times, beyond them as the last two go on."""
        counts, times = self.fitted
        if tokens > counts[-1] and len(counts) > 1:
            slope = (times[-1] - times[-2]) / (counts[-1] - counts[-2])
            return times[-1] + slope * (tokens - counts[-1])
        return float(np.interp(tokens, counts, times))


class Added(_Stated):
    """What a profile leaves out, as the user states it."""

    forward_ms: float = Field(default=0.0, ge=0, description="for each forward, such as head and sampling")
    layer_us: float = Field(default=0.0, ge=0, description="for each layer, such as collectives")
    layer_us_behind_1000: float = Field(
        default=0.0, ge=0, description="for each layer and 1000 tokens of context: attention over the cache"
    )


class ModelShape(_Stated):
    """A dense decoder with gated feed-forward layers, by the keys of its Hugging Face config.json."""

    hidden_size: int = Field(ge=1)
    num_hidden_layers: int = Field(ge=1)
    intermediate_size: int = Field(ge=1)
    num_attention_heads: int = Field(ge=1)
    num_key_value_heads: int | None = Field(default=None, ge=1, description="none: one for each head")
    head_dim: int | None = Field(default=None, ge=1, description="none: hidden_size / num_attention_heads")
    vocab_size: int = Field(ge=1)
    tie_word_embeddings: bool = False
    max_position_embeddings: int | None = Field(
        default=None, ge=1, description="the most tokens of a text with its prompt; none: no limit is known"
    )

    @property
    def cache_values(self) -> int:
        """Keys and values that the cache holds for a token."""
        return 2 * self.num_hidden_layers * self._cached_heads * self._head

    @property
    def multiplied(self) -> int:
        """Parameters that a forward reads and multiplies: the layers, the last norm and the output head."""
        hidden, head = self.hidden_size, self._head
        attention = 2 * hidden * head * (self.num_attention_heads + self._cached_heads)
        layer = attention + 3 * hidden * self.intermediate_size + 2 * hidden
        return self.num_hidden_layers * layer + hidden + self.vocab_size * hidden

    @property
    def parameters(self) -> int:
        """All of them; an embedding of its own is looked up, not multiplied."""
        return self.multiplied + (0 if self.tie_word_embeddings else self.vocab_size * self.hidden_size)

    @property
    def _head(self) -> int:
        return self.head_dim or self.hidden_size // self.num_attention_heads

    @property
    def _cached_heads(self) -> int:
        return self.num_key_value_heads or self.num_attention_heads


class Device(_Stated):
    """What a device does at best: bandwidth of its memory in GB/s, products in TFLOP/s."""

    title: str
    gigabytes_per_second: Figure
    teraflops: Figure

    def described(self) -> str:
        """Its figures with their sources."""
        bandwidth, peak = self.gigabytes_per_second, self.teraflops
        return f"{self.title} ({bandwidth.value:g} GB/s: {bandwidth.source}; {peak.value:g} TFLOP/s: {peak.source})"


class Roofline(_Stated):
    """A model on `devices` devices in tensor parallel, each with its share of the weights and the cache.

    A forward over n tokens behind c takes max(bytes of weights and cache read / bandwidth, 2 x parameters x n / peak)
    + launches x launch_us (Williams et al. 2009; the weights are read once, the cache of c + n tokens too).
    """

    model: Annotated[ModelShape, _OrFile()]
    device: Annotated[Device, _OrFile()]
    devices: int = Field(default=1, ge=1, description="in tensor parallel")
    bytes_per_weight: float = Field(default=2.0, gt=0, description="2: bf16; 1: fp8; 0.5: four bits")
    bytes_per_cache_value: float = Field(default=2.0, gt=0)
    launches: int = Field(default=0, ge=0, description="kernels in a forward")
    launch_us: float = Field(default=0.0, ge=0, description="for each launch, not hidden behind the last one")

    def seconds(self, tokens: int, context: int) -> float:
        """One forward over `tokens` tokens behind `context`."""
        model = self.model
        read = model.multiplied * self.bytes_per_weight
        read += model.cache_values * (context + tokens) * self.bytes_per_cache_value
        memory = read / (self.device.gigabytes_per_second.value * 1e9)
        products = 2 * model.multiplied * tokens / (self.device.teraflops.value * 1e12)
        return max(memory, products) / self.devices + self.launches * self.launch_us / 1e6

    def note(self) -> str:
        """Where its times are from and what they leave out."""
        launches = (
            f"{self.launches} launches of {self.launch_us:g} us as stated"
            if self.launches and self.launch_us
            else "no time for launches"
        )
        return (
            f"times are extrapolated by a roofline, not measured: {self.model.parameters / 1e9:.2f} billion "
            f"parameters at {self.bytes_per_weight:g} bytes on {self.devices} x {self.device.described()}; "
            f"{launches}; excluded: products of attention, sampling, collectives between devices, other host "
            "overhead, and what kernels fall short of the peak"
        )


class Timed(_Stated):
    """A model's times: by a profile, with what is added to it, or by a roofline."""

    profile: Annotated[Profile, _OrFile()] | None = None
    added: Added = Added()
    roofline: Roofline | None = None

    @model_validator(mode="after")
    def _one(self) -> "Timed":
        if (self.profile is None) == (self.roofline is None):
            raise PydanticCustomError("one_of", "needs either 'profile' or 'roofline'")
        if self.roofline is not None and self.added != Added():
            raise PydanticCustomError("one_of", "'added' goes with 'profile'; a roofline has 'launches'")
        return self

    @property
    def longest(self) -> float:
        """The most tokens in a forward that were measured; a roofline knows no end."""
        return self.profile.fitted[0][-1] if self.profile else math.inf

    def seconds(self, tokens: int, context: int) -> float:
        """One forward over `tokens` tokens behind `context`."""
        if self.roofline is not None:
            return self.roofline.seconds(tokens, context)
        assert self.profile is not None
        added = self.added
        layer_us = 1e3 * self.profile.layer(tokens) + added.layer_us
        layer_us += added.layer_us_behind_1000 * context / 1e3
        return self.profile.layers * layer_us / 1e6 + added.forward_ms / 1e3

    def note(self) -> str:
        """Where its times are from and what they leave out."""
        if self.roofline is not None:
            return self.roofline.note()
        assert self.profile is not None
        stated = [
            f"{value:g} {unit}"
            for value, unit in (
                (self.added.forward_ms, "ms a forward"),
                (self.added.layer_us, "us a layer"),
                (self.added.layer_us_behind_1000, "us a layer behind each 1000 tokens"),
            )
            if value
        ]
        return (
            f"times are extrapolated, not measured here: {self.profile.title}, {self.profile.layers} layers "
            f"({self.profile.source}); excluded: {', '.join(self.profile.excludes) or 'nothing that is said'}; "
            f"added as stated: {', '.join(stated) or 'nothing'}"
        )


class Hardware(_Stated):
    """Where target and draft run: a device (or a group of them) each or, `in-turn`, both on the target's."""

    name: str = Field(default="", description="in tables; none: what tells it from the others of the file")
    target: Timed
    draft: Timed
    hand_over_ms: float = Field(default=0.0, ge=0, description="between the workers, for each job")
    fork_ms: float = Field(default=0.0, ge=0, description="moving the branch that is kept")

    def positions(self) -> dict[str, int]:
        """How many tokens a text may have at most, its prompt included, for each model whose limit is known."""
        sides = {"target": self.target.roofline, "draft": self.draft.roofline}
        limits = {side: roof.model.max_position_embeddings for side, roof in sides.items() if roof}
        return {side: limit for side, limit in limits.items() if limit is not None}

    def draft_times(self, shared: bool) -> Timed:
        """The draft's where both models take turns on the target's devices, or on devices of its own.

        On the target's it is in tensor parallel over no more of them than it has of its own. Without rooflines for both
        its times stay as they are.
        """
        target, draft = self.target.roofline, self.draft.roofline
        if not shared or target is None or draft is None:
            return self.draft
        moved = {"device": target.device, "devices": min(draft.devices, target.devices)}
        return Timed(roofline=draft.model_copy(update=moved))

    def notes(self, shared: bool, drafts: bool) -> tuple[str, ...]:
        """What a reader has to know of an outcome's times; of the draft's only where there is one."""
        notes = [f"target: {self.target.note()}"]
        if drafts:
            times = self.draft_times(shared)
            where = "" if times == self.draft else " in turn with the target"
            notes.append(f"draft{where}: {times.note()}")
            if shared and (self.target.roofline is None or self.draft.roofline is None):
                notes.append("in-turn: the draft's times are those on its own device, not on the target's")
        notes.append(
            f"hand-over of {self.hand_over_ms:g} ms and fork of {self.fork_ms:g} ms as stated; neither contention nor "
            "the spread of durations is known"
        )
        return tuple(notes)
