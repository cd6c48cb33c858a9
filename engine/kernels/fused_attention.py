"""Attention of a compiled forward: rows' keys and values into the cache, and what their queries mix of it.

A head's numbers are of one thread, or of one row, so that they are the same however many threads and rows there are.
`engine.kernels.fused_step` says what the arrays are.
"""

from typing import Any

import numpy as np

from engine.kernels.compiled import bits_as_float, compiled, exp, narrow, ordered
from engine.kernels.dots import FOUR, make_mix, make_scores

Array = Any  # an array, as numba takes it: its dtype is in each docstring that cares

# Compiled functions find these as globals, or they could not be kept on disk.
_scores_1, _scores_2, _scores_3, _scores_4 = (make_scores(queries) for queries in (1, 2, 3, 4))
_mix_1, _mix_2, _mix_3, _mix_4 = (make_mix(queries) for queries in (1, 2, 3, 4))


@compiled
def _turn(head: Array, cosine: Array, sine: Array, y: Array) -> None:
    """A head's `width` numbers turned by its position, into `y`; the sine's first half is negative."""
    half = len(head) // 2
    for i in range(half):
        y[i] = head[i] * cosine[i] + head[i + half] * sine[i]
        y[i + half] = head[i + half] * cosine[i + half] + head[i] * sine[i + half]


@compiled
def _part_halves(whole: Array, parted: Array) -> None:
    """Each 32 numbers, the even ones before the odd ones, into `parted`."""
    for first in range(0, len(whole), 32):
        for i in range(16):
            parted[first + i] = whole[first + 2 * i]
            parted[first + 16 + i] = whole[first + 2 * i + 1]


@compiled
def _join_halves(parted: Array, whole: Array) -> None:
    """What `_part_halves` parted."""
    for first in range(0, len(whole), 32):
        for i in range(16):
            whole[first + 2 * i] = parted[first + i]
            whole[first + 2 * i + 1] = parted[first + 16 + i]


@compiled
def _soften(scores: Array) -> None:
    """The softmax of `scores`, in place."""
    # The largest of integers, which the compiler finds by vectors.
    bits, highest = scores.view(np.int32), np.int32(-0x80000000)
    for i in range(len(bits)):
        highest = max(highest, ordered(bits[i]))
    most: Any = bits_as_float(np.uint32(ordered(highest)))  # type: ignore[call-arg]
    whole = np.float32(0.0)
    for i in range(len(scores)):
        scores[i] = exp(scores[i] - most)
        whole += scores[i]
    share = np.float32(1.0) / whole
    for i in range(len(scores)):
        scores[i] *= share


@compiled
def _score(keys: Array, slots: Array, count: int, queries: Array, scores: Array) -> None:
    """Products of all `queries` [n, width] and the keys of `count` slots, into `scores` [n, ..]."""
    chunks, stride, row = keys.shape[1] // 32, scores.strides[0], queries.strides[0]
    k, s, x, y = keys.ctypes.data, slots.ctypes.data, queries.ctypes.data, scores.ctypes.data
    done = 0
    while done < len(queries):
        left = len(queries) - done
        if left >= 4:
            _scores_4(k, s, count, x + done * row, chunks, y + done * stride, stride)
        elif left == 3:
            _scores_3(k, s, count, x + done * row, chunks, y + done * stride, stride)
        elif left == 2:
            _scores_2(k, s, count, x + done * row, chunks, y + done * stride, stride)
        else:
            _scores_1(k, s, count, x + done * row, chunks, y + done * stride, stride)
        done += 4


@compiled
def _mix(values: Array, slots: Array, count: int, shares: Array, sums: Array) -> None:
    """Sums of the values of `count` slots by their `shares` [n, ..], into `sums` [n, width]."""
    chunks, stride, row = values.shape[1] // 32, shares.strides[0], sums.strides[0]
    v, s, x, y = values.ctypes.data, slots.ctypes.data, shares.ctypes.data, sums.ctypes.data
    done = 0
    while done < len(sums):
        left = len(sums) - done
        if left >= 4:
            _mix_4(v, s, count, x + done * stride, stride, chunks, y + done * row)
        elif left == 3:
            _mix_3(v, s, count, x + done * stride, stride, chunks, y + done * row)
        elif left == 2:
            _mix_2(v, s, count, x + done * stride, stride, chunks, y + done * row)
        else:
            _mix_1(v, s, count, x + done * stride, stride, chunks, y + done * row)
        done += 4


@compiled
def keep(
    fused: Array,
    head: int,
    heads: int,
    positions: Array,
    cosine: Array,
    sine: Array,
    cache: Array,
    slots: Array,
) -> None:
    """One KV head's keys, turned by their positions, and values into the cache's `slots`."""
    kv_heads, width = len(cache) // 2, cache.shape[2]
    keys, values = cache[head], cache[kv_heads + head]
    turned = np.empty(width, np.float32)
    for row in range(len(fused)):
        at = (heads + head) * width
        _turn(fused[row, at : at + width], cosine[positions[row]], sine[positions[row]], turned)
        narrow(turned, keys[slots[row]])
        at += kv_heads * width
        narrow(fused[row, at : at + width], values[slots[row]])


@compiled
def attend(
    fused: Array,
    head: int,
    heads: int,
    first: int,
    until: int,
    positions: Array,
    cosine: Array,
    sine: Array,
    cache: Array,
    seen: Array,
    counts: Array,
    mixed: Array,
) -> None:
    """One KV head: what its queries of rows `first` .. `until` - 1 mix, into `mixed`."""
    kv_heads, width = len(cache) // 2, cache.shape[2]
    group = heads // kv_heads
    keys, values = cache[head], cache[kv_heads + head]
    turned = np.empty(width, np.float32)
    scores = np.empty((group, seen.shape[1] + FOUR), np.float32)
    parted = np.empty((group, width), np.float32)
    shrink = np.float32(1.0) / np.sqrt(np.float32(width))
    for row in range(first, until):
        count, visible = counts[row], seen[min(row, len(seen) - 1)]
        for query in range(group):
            at = (head * group + query) * width
            _turn(fused[row, at : at + width], cosine[positions[row]], sine[positions[row]], turned)
            turned *= shrink
            _part_halves(turned, parted[query])
        _score(keys, visible, count, parted, scores)
        for query in range(group):
            _soften(scores[query, :count])
        _mix(values, visible, count, scores, parted)
        for query in range(group):
            at = (head * group + query) * width
            _join_halves(parted[query], mixed[row, at : at + width])
