"""Rounded linear layers: the error stays within half a step, and packed kernels compute the same product."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given

from engine.kernels.linear import (
    INT4_GROUP,
    PACKED_ROWS,
    SPARE_BYTES,
    WIDE_ROWS,
    lacks_bfloat16,
    make_linear,
    round_weight,
)
from engine.kernels.rounding import dequantise, quantise, quantise_spans
from engine.models.llama import make_norm


@given(st.sampled_from([4, 8]), st.sampled_from([None, 16, 64]), st.integers(0, 2**31))
def test_rounding_is_within_half_a_step(bits: int, group: int | None, seed: int) -> None:
    weight = torch.randn(6, 128, generator=torch.Generator().manual_seed(seed))
    codes, scales = quantise(weight, bits, group)
    assert int(codes.abs().max()) <= 2 ** (bits - 1) - 1
    step = scales.repeat_interleave(group or 128, dim=1)
    assert bool(((dequantise(codes, scales) - weight).abs() <= step / 2 * 1.0001).all())


@given(st.sampled_from([3, 4]), st.sampled_from([16, 64]), st.floats(-1.0, 1.0), st.integers(0, 2**31))
def test_rounding_by_spans_is_within_half_a_step(bits: int, group: int, shift: float, seed: int) -> None:
    weight = torch.randn(6, 128, generator=torch.Generator().manual_seed(seed)) + shift
    codes, scales, offsets = quantise_spans(weight, bits, group)
    assert -(2 ** (bits - 1)) <= int(codes.min())
    assert int(codes.max()) < 2 ** (bits - 1)
    step = scales.repeat_interleave(group, dim=1)
    # Scales and offsets are themselves rounded, to eight bits.
    spare = (offsets.abs() + 2**bits * scales).repeat_interleave(group, dim=1) * 2**-8
    assert bool(((dequantise(codes, scales, offsets) - weight).abs() <= step / 2 + spare).all())


def test_rounding_twice_changes_nothing() -> None:
    weight = torch.randn(8, 64, generator=torch.Generator().manual_seed(0))
    once = dequantise(*quantise(weight, 4, 32))
    torch.testing.assert_close(dequantise(*quantise(once, 4, 32)), once)


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize(
    "rows", sorted({1, 32, *PACKED_ROWS.values(), *(n + 1 for n in PACKED_ROWS.values())})
)
def test_packed_kernels_compute_the_rounded_product(bits: int, rows: int) -> None:
    draw = torch.Generator().manual_seed(rows)
    weight = torch.randn(96, 2 * INT4_GROUP, generator=draw)
    x = torch.randn(rows, 2 * INT4_GROUP, generator=draw)
    rounded = round_weight(weight, bits)
    exact = x.bfloat16().float() @ rounded.T
    got = make_linear(weight, torch.bfloat16, bits)(x.bfloat16()).float()
    assert float((got - exact).norm() / exact.norm()) < 0.01
    torch.testing.assert_close(make_linear(weight, torch.float32, bits)(x), x @ rounded.T)


@pytest.mark.parametrize("rows", [1, 3, 17, 40])
def test_a_laid_out_weight_gives_the_plain_product(rows: int) -> None:
    """Of other shapes than those of the layout, too."""
    draw = torch.Generator().manual_seed(rows)
    weight, x = (
        torch.randn(100, 72, generator=draw).bfloat16(),
        torch.randn(rows, 72, generator=draw).bfloat16(),
    )
    got = make_linear(weight, torch.bfloat16)(x)
    torch.testing.assert_close(got, torch.nn.functional.linear(x, weight), rtol=2**-7, atol=2**-7)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("rows", [1, 5])
def test_the_norm_is_the_root_mean_square(rows: int, dtype: torch.dtype) -> None:
    draw = torch.Generator().manual_seed(rows)
    weight, x = (
        torch.randn(576, generator=draw).to(dtype),
        (3 * torch.randn(rows, 576, generator=draw)).to(dtype),
    )
    expected = torch.nn.functional.rms_norm(x, (576,), weight, 1e-5)
    torch.testing.assert_close(
        make_norm(weight, 1e-5)(x), expected, rtol=2**-7 if dtype == torch.bfloat16 else 1e-6, atol=0
    )


@pytest.mark.parametrize("bits", [None, 8, 4])
@pytest.mark.parametrize("rows", [1, WIDE_ROWS + 1, 32])
def test_widened_products_are_bfloat16_products(bits: int | None, rows: int) -> None:
    """Of the same weights and inputs, within the rounding of the last bits of bfloat16."""
    draw = torch.Generator().manual_seed(rows)
    weight, x = torch.randn(96, 2 * INT4_GROUP, generator=draw), torch.randn(rows, 128, generator=draw)
    narrow, wide = (make_linear(weight, torch.bfloat16, bits, wide=w)(x.bfloat16()) for w in (False, True))
    assert wide.dtype == torch.bfloat16
    torch.testing.assert_close(wide.float(), narrow.float(), rtol=2**-7, atol=0.1)


def test_only_a_small_bfloat16_model_is_held_twice() -> None:
    cpu = torch.device("cpu")
    assert not lacks_bfloat16(torch.float32, cpu, 1000)
    assert not lacks_bfloat16(torch.bfloat16, cpu, SPARE_BYTES)
    assert not lacks_bfloat16(torch.bfloat16, torch.device("meta"), 1000)


def test_a_width_that_fits_no_group_stays_unrounded() -> None:
    weight = torch.randn(8, INT4_GROUP + 1)
    x = torch.randn(2, INT4_GROUP + 1)
    torch.testing.assert_close(make_linear(weight, torch.float32, 4)(x), x @ weight.T)
