"""What a decoder can do, and what is refused of a model that cannot do it. Torch-free."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.errors import ConfigurationError

# Rope types whose models state the scaled length themselves, as vLLM has it (vllm/config/model.py).
_STATED_SCALED = ("default", "llama3", "mrope")
# Rope types that turn all keys otherwise once a text is longer than the model was trained for at first. A cache would
# have to be read again at that place, which this engine does not do: so a text may be no longer.
_TURNED_ANEW = ("longrope", "su", "dynamic")


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a decoder can do.

    `positions`: how many tokens a text may have, as the model was made; None where no limit is known. `rolls_back`:
    whether it can forget its last tokens, which every rejected draft asks for. `trees`: whether tokens that do not
    follow one another, and those of several texts, are read in one forward; else each takes a forward of its own, with
    the same result.
    """

    positions: int | None = None
    rolls_back: bool = True
    trees: bool = True


def position_limit(config: Any) -> int | None:
    """The most positions that a transformers config allows, rope scaling included; None where it states none.

    Where the rope is scaled by a factor, the stated length is that before scaling, and for "yarn" the original one if
    it is given (the rule of vLLM's `_get_and_verify_max_len`).
    """
    text = config.get_text_config(decoder=True)
    stated = getattr(text, "max_position_embeddings", None)
    if not isinstance(stated, int) or stated <= 0:
        return None
    ropes = getattr(text, "rope_parameters", None) or getattr(text, "rope_scaling", None) or {}
    by_layer = all(isinstance(rope, Mapping) for rope in ropes.values()) if ropes else False
    original = getattr(text, "original_max_position_embeddings", None) or stated
    scaled = [_scaled(stated, original, rope) for rope in (ropes.values() if by_layer else [ropes])]
    # Gemma 3 states the scaled length, though it names a factor.
    return stated if "gemma3" in text.model_type else min(scaled)


def _scaled(stated: int, original: int, rope: Mapping[str, Any]) -> int:
    """The length that one rope's scaling makes of the stated one."""
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind in _TURNED_ANEW:
        return int(rope.get("original_max_position_embeddings") or original)
    if kind in _STATED_SCALED:
        return stated
    before = rope.get("original_max_position_embeddings", stated) if kind == "yarn" else stated
    return max(stated, math.floor(before * float(rope.get("factor") or 1.0)))


def check_rolls_back(found: Capabilities, source: str, role: str) -> None:
    """ConfigurationError unless a model can forget what was drafted in vain."""
    if not found.rolls_back:
        raise ConfigurationError(
            f"the {role} '{source}' keeps a recurrent state, which cannot be rolled back behind a rejected token: such "
            "a model can be a target under the policy autoregressive, and nothing else."
        )


def check_shares(found: Capabilities) -> None:
    """ConfigurationError unless several texts can share a model's cache."""
    if not found.rolls_back:
        raise ConfigurationError(
            "a model that keeps a recurrent state holds one text at a time: it cannot be part of a batch."
        )


def check_length(found: Capabilities, source: str, role: str, prompt: int, tokens: int) -> None:
    """ConfigurationError unless a text of so many tokens behind a prompt of so many stays within the positions."""
    if found.positions is None or prompt + tokens <= found.positions:
        return
    room = found.positions - prompt
    way_out = f"ask for at most {room} tokens" if room > 0 else "shorten the prompt"
    raise ConfigurationError(
        f"a prompt of {prompt} tokens and {tokens} more exceed the {found.positions} positions that the {role} "
        f"'{source}' was made for: {way_out}."
    )
