"""Products by each kind of instructions are those of numpy: exactly of codes, also of the largest there are."""

from typing import Any

import numba
import numpy as np
import pytest
from llvmlite import binding
from numpy.typing import NDArray

from engine.kernels import dots

STEPS = 24


def supported() -> list[dots.Instructions]:
    features = binding.get_host_cpu_features()
    return [kind for kind, names in dots.NEEDED.items() if all(features.get(name, False) for name in names)]


def products(
    kind: dots.Instructions,
    bits: int,
    weights: NDArray[Any],
    x: NDArray[Any],
    scales: NDArray[Any],
    rows: int,
) -> NDArray[np.float32]:
    """A block's products of so many rows, with units of 1 and sums of codes that begin with 0."""
    multiply = dots.make_dots(bits, kind)

    def run(
        rows: Any, w: Any, scales: Any, steps: Any, x: Any, stride: Any, starts: Any, u: Any, y: Any
    ) -> None:
        multiply(rows, w, scales, 1, steps, x, stride, starts, 4, u, y, 4 * dots.OUTPUTS, 0, dots.STEP)

    starts, units = np.zeros((2 * rows, 1), np.int32), np.ones(rows, np.float32)
    y = np.empty((rows, dots.OUTPUTS), np.float32)
    addresses = [array.ctypes.data for array in (weights, scales, x, starts, units, y)]
    w, each, read, begins, unit, to = addresses
    compiled: Any = numba.njit(run)
    compiled(rows, w, each, STEPS, read, x.strides[0], begins, unit, to)
    return y


@pytest.mark.parametrize("kind", supported())
@pytest.mark.parametrize("rows", [1, 4, dots.MOST_ROWS])
def test_codes_of_eight_bits(kind: dots.Instructions, rows: int) -> None:
    """Parts of -128 and 127 with codes of 255 would not fit 16 bits in pairs."""
    rng = np.random.default_rng(rows)
    weights = rng.choice(np.array([0, 1, 128, 254, 255], np.uint8), (STEPS, dots.OUTPUTS, 4))
    x = rng.choice(np.array([-128, -127, -1, 0, 127], np.int8), (2 * rows, 4 * STEPS))
    found = products(kind, 8, weights, x, np.ones(dots.OUTPUTS, np.float32), rows)
    sums = np.einsum("sof,rsf->ro", weights.astype(np.int64), x.reshape(2 * rows, STEPS, 4).astype(np.int64))
    np.testing.assert_array_equal(found, (dots.HALF * sums[::2] + sums[1::2]).astype(np.float32))


@pytest.mark.parametrize("kind", supported())
@pytest.mark.parametrize("rows", [1, 4, dots.MOST_ROWS])
def test_codes_of_four_bits(kind: dots.Instructions, rows: int) -> None:
    """The bytes' lower halves come before their upper ones; a scale of 1 and an offset of 0."""
    rng = np.random.default_rng(rows)
    weights = rng.choice(np.array([0x00, 0x0F, 0xF0, 0xFF, 0x7A], np.uint8), (STEPS, dots.OUTPUTS, 4))
    x = rng.choice(np.array([-128, -127, -1, 0, 127], np.int8), (2 * rows, 8 * STEPS))
    one = np.uint32(np.float32(1.0).view(np.uint32))  # of bfloat16 the upper half
    found = products(kind, 4, weights, x, np.full(dots.OUTPUTS, one, np.uint32), rows)
    codes = np.stack([weights & 15, weights >> 4], axis=1).astype(np.int64)  # [steps, 2, outputs, 4]
    sums = np.einsum("shof,rshf->ro", codes, x.reshape(2 * rows, STEPS, 2, 4).astype(np.int64))
    np.testing.assert_array_equal(found, (dots.HALF * sums[::2] + sums[1::2]).astype(np.float32))


@pytest.mark.parametrize("kind", supported())
@pytest.mark.parametrize("rows", [1, 4, dots.MOST_ROWS])
def test_numbers_of_bfloat16(kind: dots.Instructions, rows: int) -> None:
    """Whole numbers, of which every sum is exact in float32."""
    rng = np.random.default_rng(rows)
    weights, x = (rng.integers(-9, 10, shape) for shape in ((STEPS, dots.OUTPUTS, 2), (rows, 2 * STEPS)))
    halves = [(array.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16) for array in (weights, x)]
    found = products(kind, 16, halves[0], halves[1], np.ones(dots.OUTPUTS, np.float32), rows)
    np.testing.assert_array_equal(found, np.einsum("sof,rsf->ro", weights, x.reshape(rows, STEPS, 2)))
