"""Logits and their noise in one pass, compiled; `engine.kernels.noise` says what for. Needs numba."""

from typing import Any

import numpy as np

from engine.kernels.compiled import bits_as_float, compiled

Array = Any  # an array, as numba takes it: its dtype is in each docstring that cares
STEP, FIRST, SECOND = (
    np.uint64(number) for number in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)


@compiled
def mixed(key: Any, token: Any) -> Any:
    """The number of `token` in the row of SplitMix64 that begins at `key`, uint64."""
    z = key + (np.uint64(token) + np.uint64(1)) * STEP
    z = (z ^ (z >> np.uint64(30))) * FIRST
    z = (z ^ (z >> np.uint64(27))) * SECOND
    return z ^ (z >> np.uint64(31))


@compiled
def _exponent(number: Any) -> Any:
    """n of a positive float32 that is 2^n times one from the root of 1/2 to that of 2, int32."""
    bits = np.float32(number).view(np.int32)
    return (bits - np.int32(0x3F3504F3)) >> np.int32(23)


@compiled
def _power(exponent: Any) -> Any:
    """2^exponent, float32."""
    return bits_as_float(np.uint32((np.int32(127) + exponent) << np.int32(23)))  # type: ignore[call-arg]


@compiled
def _log(exponent: Any, rest: Any) -> Any:
    """The logarithm of 2^exponent (1 + rest) in float32, by a polynomial (Cephes, logf) that vectorises."""
    square = rest * rest
    sum_ = np.float32(7.0376836292e-2)
    sum_ = sum_ * rest - np.float32(1.1514610310e-1)
    sum_ = sum_ * rest + np.float32(1.1676998740e-1)
    sum_ = sum_ * rest - np.float32(1.2420140846e-1)
    sum_ = sum_ * rest + np.float32(1.4249322787e-1)
    sum_ = sum_ * rest - np.float32(1.6668057665e-1)
    sum_ = sum_ * rest + np.float32(2.0000714765e-1)
    sum_ = sum_ * rest - np.float32(2.4999993993e-1)
    sum_ = sum_ * rest + np.float32(3.3333331174e-1)
    small = sum_ * rest * square + exponent * np.float32(-2.12194440e-4) - np.float32(0.5) * square
    return rest + small + exponent * np.float32(0.693359375)


@compiled
def _noise(key: Any, tokens: Array, noise: Array) -> None:
    for i in range(len(noise)):
        chance = (np.float64(np.int64(mixed(key, tokens[i]) >> np.uint64(12))) + 0.5) * 2.0**-52
        other = np.float32(1.0 - chance)
        power = _exponent(other)
        rest = -np.float32(chance) if power == 0 else other * _power(-power) - np.float32(1.0)
        law = -_log(np.float32(power), rest)  # exponential
        power = _exponent(law)
        noise[i] = -_log(np.float32(power), law * _power(-power) - np.float32(1.0))


@compiled
def drawn(scores: Array, keys: Array, tokens: Array, temperature: Any, out: Array) -> None:
    """`temperature` times (scores + noise), into `out`; all float32 [n, rows]; `keys` uint64 [n].

    `tokens` int64 [rows] are the rows' token ids. Rows of one key behind one another share its noise.
    """
    noise = np.empty(len(tokens), np.float32)
    for row in range(len(scores)):
        if row == 0 or keys[row] != keys[row - 1]:
            _noise(keys[row], tokens, noise)
        for i in range(len(noise)):
            out[row, i] = temperature * (scores[row, i] + noise[i])
