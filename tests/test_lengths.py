"""Costs are measured as far as texts reach, and texts end where a model's positions do."""

from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given
from tiny_models import tiny_llama

from calibrate.costs.lengths import (
    LEAST_POSITIONS,
    LONGER,
    ROOM,
    check_context,
    check_lengths,
    contexts,
    most_positions,
    with_positions,
)
from calibrate.costs.measurement import BRANCH_CONTEXTS, FORWARD_CONTEXTS
from calibrate.records import ModelRecord
from engine.errors import ConfigurationError, SpecBranchError
from engine.models.specs import ModelSpec


def record(positions: int | None) -> ModelRecord:
    return ModelRecord(spec=ModelSpec(source="s"), sha256="0", positions=positions)


@given(
    st.sampled_from([FORWARD_CONTEXTS, BRANCH_CONTEXTS]),
    st.integers(1, 100_000),
    st.none() | st.integers(LEAST_POSITIONS, 200_000),
)
def test_contexts_reach_as_far_as_texts_do(usual: tuple[int, ...], reach: int, positions: int | None) -> None:
    """To the end of the longest text, but for the room that timing needs; three at most, two for usual texts."""
    found = contexts(usual, reach, positions)
    assert list(found) == sorted(set(found))
    assert found[0] == usual[0]
    assert 2 <= len(found) <= 3
    room = positions - ROOM if positions is not None else reach
    assert found[-1] >= min(reach, room)
    assert positions is None or found[-1] <= positions - ROOM
    if reach <= LONGER * usual[-1]:
        assert len(found) == 2
    if reach <= usual[-1] and (positions is None or positions >= usual[-1] + ROOM):
        assert found == usual


@given(st.integers(1, 5000), st.integers(1, 5000), st.none() | st.integers(1, 10_000))
def test_a_text_beyond_a_models_positions_is_refused(prompt: int, tokens: int, positions: int | None) -> None:
    models = {"target": record(None), "small": record(positions)}
    lengths = {"short": 1, "long": prompt}
    if positions is not None and prompt + tokens > positions and prompt > 1:
        with pytest.raises(
            ConfigurationError, match=f"'long' has {prompt} .* {positions} positions of 'small': do"
        ):
            check_lengths(models, lengths, tokens, "do less")
    elif positions is None or max(prompt, 1) + tokens <= positions:
        check_lengths(models, lengths, tokens, "do less")


def test_a_context_beyond_them_is_refused() -> None:
    check_context({"target": record(None), "small": record(200)}, 200)
    with pytest.raises(ConfigurationError, match="--context 201 is more than the 200 positions of 'small'"):
        check_context({"target": record(None), "small": record(200)}, 201)
    with pytest.raises(ConfigurationError, match=r"'small' has 64 positions, .* 160 or more"):
        check_context({"small": record(64)}, 0)


def test_positions_are_those_of_the_configuration(tmp_path: Path) -> None:
    tiny_llama(0).config.save_pretrained(tmp_path / "llama")
    assert most_positions(ModelSpec(source=str(tmp_path / "llama"))) == 2048
    from transformers import GPT2Config, MambaConfig

    GPT2Config(n_positions=256).save_pretrained(tmp_path / "gpt2")
    assert most_positions(ModelSpec(source=str(tmp_path / "gpt2"))) == 256
    MambaConfig().save_pretrained(tmp_path / "mamba")
    assert most_positions(ModelSpec(source=str(tmp_path / "mamba"))) is None
    noted, unknown = (
        record(7),
        record(None).model_copy(update={"spec": ModelSpec(source=str(tmp_path / "gpt2"))}),
    )
    found = with_positions({"noted": noted, "unknown": unknown})
    assert [one.positions for one in found.values()] == [7, 256]
    with pytest.raises(SpecBranchError, match="there is no folder"):
        most_positions(ModelSpec(source=str(tmp_path / "none")))
