"""How long a pair's texts may be, and behind which contexts costs are measured for them. Torch-free.

What a forward takes grows with the context by what attention reads of the cache, and that is linear: so many bytes, and
so many products, for each token of it. So few contexts tell all between them: one that is nearly empty, one of a few
hundred tokens, behind which weights still take most of the time, and the longest that is wanted.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from calibrate.records import ModelRecord
from engine.errors import ConfigurationError, SpecBranchError
from engine.models.capabilities import position_limit
from engine.models.specs import ModelSpec

LONGER = 1.25  # a length that is not is near enough to the one before
ROOM = 32  # positions behind the longest context, for what is read and drafted there while it is timed
LEAST_POSITIONS = 160  # that a model needs to be timed at all: behind 128 tokens, beside another model


def most_positions(spec: ModelSpec) -> int | None:
    """How many tokens a text may have for a model, the prompt's included; None: no limit is stated.

    SpecBranchError if its configuration cannot be read.
    """
    return position_limit(_configuration(spec))


def _configuration(spec: ModelSpec) -> Any:
    """The configuration that a model's architecture is made by. SpecBranchError if it cannot be read."""
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(spec.location, trust_remote_code=spec.trust_remote_code)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise SpecBranchError(f"the model '{spec.source}' could not be loaded: {reason}") from error


def vocabulary(spec: ModelSpec) -> int | None:
    """How many tokens a model knows; None: its configuration does not say. SpecBranchError as above."""
    found: int | None = getattr(_configuration(spec).get_text_config(), "vocab_size", None)
    return found


def with_positions(models: Mapping[str, ModelRecord]) -> dict[str, ModelRecord]:
    """Models on this machine, and their positions where a calibration did not note them."""
    return {
        name: record
        if record.positions is not None
        else record.model_copy(update={"positions": most_positions(record.spec)})
        for name, record in models.items()
    }


def check_lengths(
    models: Mapping[str, ModelRecord], prompts: Mapping[str, int], tokens: int, way_out: str
) -> None:
    """ConfigurationError if a prompt (tokens by its id) and `tokens` of text behind it are too long for a model.

    `way_out`: what to do about it, in words that end the sentence.
    """
    longest = max(prompts, key=lambda prompt: prompts[prompt])
    for name, record in models.items():
        if record.positions is not None and prompts[longest] + tokens > record.positions:
            raise ConfigurationError(
                f"prompt '{longest}' has {prompts[longest]} tokens, and with {tokens} of text that is more than the "
                f"{record.positions} positions of '{name}': {way_out}."
            )


def check_context(models: Mapping[str, ModelRecord], context: int) -> None:
    """ConfigurationError if a model cannot be timed at all, or not as far as is asked for."""
    for name, record in models.items():
        if record.positions is None:
            continue
        if record.positions < LEAST_POSITIONS:
            raise ConfigurationError(
                f"'{name}' has {record.positions} positions, and costs are only measured of models with "
                f"{LEAST_POSITIONS} or more: take another model."
            )
        if context > record.positions:
            raise ConfigurationError(
                f"--context {context} is more than the {record.positions} positions of '{name}': ask for less."
            )


def contexts(usual: Sequence[int], reach: int, positions: int | None) -> tuple[int, ...]:
    """The contexts to measure behind, ascending: the usual ones, and one of `reach` tokens if they end before it.

    A reach that is not `LONGER` takes the place of the last one, so that usual texts cost no time. No context leaves
    less than `ROOM` of a model's positions.
    """
    last = usual[-1]
    found = [*usual, reach] if reach > LONGER * last else [*usual[:-1], max(last, reach)]
    return tuple(dict.fromkeys(with_room(context, positions) for context in found))


def with_room(context: int, positions: int | None) -> int:
    """A context as long as that, or the longest behind which models with so many positions can be timed."""
    return context if positions is None else min(context, positions - ROOM)
