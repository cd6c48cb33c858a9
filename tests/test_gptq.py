"""Codes made for what a model reads lose less of it than the nearest ones, and come back from a file as they were."""

from pathlib import Path
from typing import Any, Literal

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from pydantic import ValidationError
from tiny_models import PROMPTS, tiny_llama

from engine.drafts.gptq import load_codes, round_by_moments, save_codes, second_moments
from engine.errors import SpecBranchError
from engine.kernels.linear import INT4_GROUP, round_weight
from engine.kernels.rounding import Rounded, dequantise, stacked
from engine.models.llama import Llama
from engine.models.rows import rows_behind
from engine.models.specs import ModelSpec
from engine.tensor_files import save_tensors

MATRICES = ("_proj.weight", "lm_head.weight")


def rounded_state(model: Any) -> dict[str, Rounded]:
    """All linear weights of a tiny model, rounded by what it reads of the prompts."""
    moments = second_moments(model, PROMPTS, lambda done, count: None)
    state = model.state_dict()
    assert set(moments) == {name for name in state if name.endswith(MATRICES)}
    return {name: round_by_moments(state[name], sums) for name, sums in moments.items()}


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**31), st.sampled_from([INT4_GROUP, 3 * INT4_GROUP]))
def test_less_of_the_products_is_lost_than_by_rounding_to_nearest(seed: int, columns: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    weight = torch.randn(24, columns, generator=draw)
    # Inputs of which a few directions say most, as a model's do.
    inputs = torch.randn(400, 12, generator=draw) @ torch.randn(12, columns, generator=draw)
    inputs += 0.1 * torch.randn(400, columns, generator=draw)
    rounded = round_by_moments(weight, inputs.T @ inputs)
    lost, usual = (
        float((inputs @ (one - weight).T).norm())
        for one in (dequantise(*rounded.parts), round_weight(weight, 4))
    )
    assert lost < 0.7 * usual


def test_of_inputs_that_say_nothing_of_each_other_each_weight_is_rounded_by_itself() -> None:
    weight = torch.randn(16, INT4_GROUP, generator=torch.Generator().manual_seed(0))
    rounded = round_by_moments(weight, torch.eye(INT4_GROUP))
    codes, scales, offsets = rounded.parts
    nearest = ((weight - offsets) / scales).round().clamp(-8, 7)
    assert torch.equal(codes, nearest.to(torch.int32))
    usual = round_weight(weight, 4)
    assert float((dequantise(*rounded.parts) - weight).norm()) <= float((usual - weight).norm())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_computes_with_the_codes_it_is_given(dtype: torch.dtype) -> None:
    model = tiny_llama(0)
    rounded = rounded_state(model)
    state = model.state_dict()
    dense = state | {name: dequantise(*one.parts) for name, one in rounded.items()}
    given_codes = Llama(model.config, state | rounded, dtype, bits=4)
    given_values = Llama(model.config, dense, dtype)
    for lines in (PROMPTS[0], PROMPTS[0][:3]):
        logits, expected = (
            one.forward([rows_behind(lines, 0)]).float() for one in (given_codes, given_values)
        )
        assert float((logits - expected).norm() / expected.norm()) < (
            1e-5 if dtype == torch.float32 else 0.03
        )


def test_codes_come_back_from_their_file_and_only_for_their_target(tmp_path: Path) -> None:
    model, path = tiny_llama(0), tmp_path / "codes.safetensors"
    rounded, state = rounded_state(model), model.state_dict()
    save_codes(path, rounded, state)
    found = load_codes(path, state)
    assert set(found) == set(rounded)
    for name, one in rounded.items():
        assert all(torch.equal(a, b) for a, b in zip(found[name].parts, one.parts, strict=True))
    with pytest.raises(SpecBranchError, match="of another target"):
        load_codes(path, tiny_llama(1).state_dict())
    save_tensors(path, {}, {"format": "another"})
    with pytest.raises(SpecBranchError, match="no codes of this version"):
        load_codes(path, state)
    with pytest.raises(SpecBranchError, match="cannot be read"):
        load_codes(tmp_path / "none", state)


@pytest.mark.parametrize("bits", [None, 8])
def test_codes_are_for_four_bits_alone(bits: Literal[8] | None) -> None:
    with pytest.raises(ValidationError, match="codes are of 4 bits"):
        ModelSpec(source="somewhere", bits=bits, codes="codes.safetensors")


def test_rounded_weights_are_stacked_as_others_are() -> None:
    model = tiny_llama(0)
    one, two = list(rounded_state(model).values())[:2]
    both = stacked([one, two])
    assert isinstance(both, Rounded)
    torch.testing.assert_close(
        dequantise(*both.parts), torch.cat([dequantise(*one.parts), dequantise(*two.parts)])
    )
    with pytest.raises(TypeError, match="some of these weights"):
        stacked([one, torch.zeros(2, 64)])
