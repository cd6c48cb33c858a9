"""How loops over numbers are compiled here, and what they share. Needs numba."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba import njit, types
from numba.extending import intrinsic

from engine.paths import cache_folder

# Modules whose code goes into what is compiled.
SOURCES = ("compiled", "compiled_noise", "compiled_ranking", "dots", "fused_attention", "fused_step")
config: Any = numba.config
# Sums may be taken in any order, so that they vectorise; infinities and what is not a number keep their meaning.
FREE = {"contract", "reassoc", "nsz", "arcp"}


def _folder() -> Path:
    """Where compiled code is kept: beside the sources, or in `NUMBA_CACHE_DIR`, apart for each state of them.

    numba itself only sees that the file of a function changed, and not those of what the function calls. Where a
    package was installed read-only, it is kept with the models.
    """
    here = Path(__file__).parent
    text = b"".join((here / f"{name}.py").read_bytes() for name in SOURCES)
    beside = here / "__pycache__" if os.access(here, os.W_OK) else cache_folder()
    above = Path(config.CACHE_DIR) if config.CACHE_DIR else beside
    return above / f"compiled-{hashlib.sha256(text).hexdigest()[:16]}"


FOLDER = _folder()


def compiled(function: Callable[..., Any]) -> Any:
    """The function as machine code, made when it is first called with arguments of a kind, and kept on disk."""
    before, config.CACHE_DIR = config.CACHE_DIR, str(FOLDER)
    try:
        return njit(nogil=True, cache=True, error_model="numpy", fastmath=FREE)(function)
    finally:
        config.CACHE_DIR = before


@intrinsic
def bits_as_float(typing: Any, bits: Any) -> Any:
    """The float32 whose bits are this uint32."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        from llvmlite import ir

        return builder.bitcast(values[0], ir.FloatType())

    return types.float32(types.uint32), generate


@compiled
def exp(x: Any) -> Any:
    """e^x in float32 for x from -87 to 88, by a polynomial (Cephes, expf) that vectorises."""
    x = min(max(x, np.float32(-87.0)), np.float32(88.0))
    whole = np.floor(x * np.float32(1.44269504) + np.float32(0.5))
    x = x - whole * np.float32(0.693359375) + whole * np.float32(2.12194440e-4)
    sum_ = np.float32(1.9875691500e-4)
    sum_ = sum_ * x + np.float32(1.3981999507e-3)
    sum_ = sum_ * x + np.float32(8.3334519073e-3)
    sum_ = sum_ * x + np.float32(4.1665795894e-2)
    sum_ = sum_ * x + np.float32(1.6666665459e-1)
    sum_ = sum_ * x + np.float32(5.0000001201e-1)
    sum_ = sum_ * x * x + x + np.float32(1.0)
    power = np.uint32((np.int32(whole) + np.int32(127)) << np.int32(23))
    return sum_ * bits_as_float(power)  # type: ignore[call-arg]


@compiled
def ordered(bits: Any) -> Any:
    """An int32 that is ordered as the float32 of these bits are, but that 0 lies above -0; its own inverse."""
    return bits ^ ((bits >> np.int32(31)) & np.int32(0x7FFFFFFF))


@compiled
def narrow(values: Any, halves: Any) -> None:
    """Bits of float32 `values` rounded to bfloat16, ties to even, into uint16 `halves`."""
    bits = values.view(np.uint32)
    for i in range(len(bits)):
        halves[i] = np.uint16(
            (bits[i] + np.uint32(0x7FFF) + ((bits[i] >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
        )


@compiled
def widen(halves: Any, values: Any) -> None:
    """Bits of bfloat16, uint16 `halves`, as float32 `values`."""
    bits = values.view(np.uint32)
    for i in range(len(bits)):
        bits[i] = np.uint32(halves[i]) << np.uint32(16)
