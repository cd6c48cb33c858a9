"""A whole forward over a few rows as one compiled function: what the arithmetic needs, and nothing between it.

Activations are float32. Products read them rounded, to bfloat16 where the weights are bfloat16, and by row to 15 bits
where the weights have 8; keys and values are kept in bfloat16. A row's numbers are the same however many rows are
read at once. Several threads may run it for one forward: each computes part of the outputs of every product and part
of the heads, and between these they wait for each other.
"""

from typing import Any

import numpy as np

from engine.kernels.compiled import bits_as_float, compiled, exp, ordered
from engine.kernels.dots import (
    CHUNK,
    FOUR,
    HALF,
    OUTPUTS,
    ZERO,
    arrive,
    arrived,
    give_way,
    instructions,
    make_dots,
    make_mix,
    make_scores,
)

Array = Any  # an array, as numba takes it: its dtype is in each docstring that cares
TOP = 127 * HALF  # the largest rounded activation
SPINS = 2000  # looks for the others before the core is offered to another thread

# Compiled functions find these as globals, or they could not be kept on disk.
_dots_16, _dots_8, _dots_4 = (make_dots(bits, instructions() or "avx2") for bits in (16, 8, 4))
_zero_8, _zero_4 = ZERO[8], ZERO[4]
_scores_1, _scores_2, _scores_3, _scores_4 = (make_scores(queries) for queries in (1, 2, 3, 4))
_mix_1, _mix_2, _mix_3, _mix_4 = (make_mix(queries) for queries in (1, 2, 3, 4))


@compiled
def _narrow(values: Array, halves: Array) -> None:
    """Bits of float32 `values` rounded to bfloat16, ties to even, into uint16 `halves`."""
    bits = values.view(np.uint32)
    for i in range(len(bits)):
        halves[i] = np.uint16(
            (bits[i] + np.uint32(0x7FFF) + ((bits[i] >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
        )


@compiled
def _widen(halves: Array, values: Array) -> None:
    """Bits of bfloat16, uint16 `halves`, as float32 `values`."""
    bits = values.view(np.uint32)
    for i in range(len(bits)):
        bits[i] = np.uint32(halves[i]) << np.uint32(16)


@compiled
def _largest(values: Array) -> Any:
    """The largest absolute value of float32 `values`, or next to nothing where all are 0."""
    # As integers, which order them as the numbers do and have no special cases.
    bits, largest = values.view(np.uint32), np.uint32(0)
    for i in range(len(bits)):
        largest = max(largest, bits[i] & np.uint32(0x7FFFFFFF))
    return max(bits_as_float(np.uint32(largest)), np.float32(1e-30))  # type: ignore[call-arg]


@compiled
def _round(values: Array, scale: Any, high: Array, low: Array) -> Any:
    """`values` times `scale`, rounded, as HALF times int8 `high` and int8 `low`; returns the sums of both."""
    # In float32, in which all of this is exact.
    half, total_high, total_low = np.float32(HALF), np.float32(0.0), np.float32(0.0)
    for i in range(len(values)):
        code = np.rint(values[i] * scale)
        above = np.floor((code + half / np.float32(2.0)) / half)
        below = code - above * half
        high[i], low[i] = np.int8(above), np.int8(below)
        total_high += above
        total_low += below
    return np.int32(total_high), np.int32(total_low)


@compiled
def _prepare(x: Array, bits: int, ready: Array, units: Array, starts: Array) -> None:
    """Rows of `x` as products with weights of 16, 8 or 4 bits read them, into `ready` uint8 [rows, bytes].

    For 8 and 4 a row becomes two, and its unit is noted too, and what the sums of its groups start with
    (`engine.kernels.dots.make_dots`); weights of 8 bits have one group.
    """
    if bits == 16:
        for row in range(len(x)):
            _narrow(x[row], ready[row].view(np.uint16))
        return
    width = x.shape[1]
    group, zero = (CHUNK, _zero_4) if bits == 4 else (width, _zero_8)
    for row in range(len(x)):
        largest = _largest(x[row])
        units[row] = largest / np.float32(TOP)
        scale = np.float32(TOP) / largest
        high, low = ready[2 * row].view(np.int8), ready[2 * row + 1].view(np.int8)
        for at in range(width // group):
            begin, end = at * group, (at + 1) * group
            total_high, total_low = _round(x[row, begin:end], scale, high[begin:end], low[begin:end])
            starts[2 * row, at], starts[2 * row + 1, at] = -zero * total_high, -zero * total_low


@compiled
def _multiply(
    weights: Array,
    scales: Array,
    bits: int,
    ready: Array,
    units: Array,
    starts: Array,
    rows: int,
    y: Array,
    first: int,
    last: int,
) -> None:
    """Outputs `first` .. `last` - 1 of `weights` uint8 [outputs, bytes] for rows made ready, into `y` [rows, ..]."""
    w_stride, x_stride, s_stride, y_stride = (
        weights.strides[0],
        ready.strides[0],
        starts.strides[0],
        y.strides[0],
    )
    groups = 2 * weights.shape[1] // CHUNK if bits == 4 else 1
    steps = weights.shape[1] // 4 // groups
    x, s, u = ready.ctypes.data, starts.ctypes.data, units.ctypes.data
    for output in range(first, last, OUTPUTS):
        w, each = weights.ctypes.data + output * w_stride, scales.ctypes.data + 4 * groups * output
        to = y.ctypes.data + 4 * output
        if bits == 16:
            _dots_16(rows, w, each, groups, steps, x, x_stride, s, s_stride, u, to, y_stride)
        elif bits == 8:
            _dots_8(rows, w, each, groups, steps, x, x_stride, s, s_stride, u, to, y_stride)
        else:
            _dots_4(rows, w, each, groups, steps, x, x_stride, s, s_stride, u, to, y_stride)


@compiled
def _normalise(x: Array, weight: Array, epsilon: float, y: Array) -> None:
    """The root mean square norm of each row of `x`, into `y`."""
    for row in range(len(x)):
        squares = np.float32(0.0)
        for i in range(x.shape[1]):
            squares += x[row, i] * x[row, i]
        scale = np.float32(1.0) / np.sqrt(squares / np.float32(x.shape[1]) + np.float32(epsilon))
        for i in range(x.shape[1]):
            y[row, i] = x[row, i] * scale * weight[i]


@compiled
def _add(moved: Array, x: Array, first: int, until: int) -> None:
    """Columns `first` .. `until` - 1 of `moved` to those of `x`."""
    # Rows of their own, of which the compiler knows that their numbers lie together.
    for row in range(len(x)):
        what, to = moved[row, first:until], x[row, first:until]
        for i in range(len(to)):
            to[i] += what[i]


@compiled
def _gate(fused: Array, inner: Array, first: int, until: int) -> None:
    """Columns `first` .. `until` - 1 of `inner`: values times the SiLU of gates; `fused` has gates, then values."""
    half = inner.shape[1]
    for row in range(len(inner)):
        gate, value = fused[row, first:until], fused[row, half + first : half + until]
        to = inner[row, first:until]
        for i in range(len(to)):
            to[i] = gate[i] / (np.float32(1.0) + exp(-gate[i])) * value[i]


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
def _attend(
    fused: Array,
    head: int,
    heads: int,
    positions: Array,
    cosine: Array,
    sine: Array,
    cache: Array,
    slots: Array,
    seen: Array,
    counts: Array,
    mixed: Array,
) -> None:
    """One KV head: its keys and values into the cache's `slots`, what its queries mix into `mixed`."""
    kv_heads, width = len(cache) // 2, cache.shape[2]
    group = heads // kv_heads
    keys, values = cache[head], cache[kv_heads + head]
    turned = np.empty(width, np.float32)
    for row in range(len(fused)):
        at = (heads + head) * width
        _turn(fused[row, at : at + width], cosine[positions[row]], sine[positions[row]], turned)
        _narrow(turned, keys[slots[row]])
        at += kv_heads * width
        _narrow(fused[row, at : at + width], values[slots[row]])
    scores = np.empty((group, seen.shape[1] + FOUR), np.float32)
    parted = np.empty((group, width), np.float32)
    shrink = np.float32(1.0) / np.sqrt(np.float32(width))
    for row in range(len(fused)):
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


@compiled
def _meet(meeting: Array, size: int, round_: int) -> int:
    """Wait until all threads have come to this round; returns the next one."""
    if size > 1:
        counter = meeting.ctypes.data
        arrive(counter)  # type: ignore[call-arg]
        looks = 0
        while arrived(counter) < round_ * size:
            looks += 1
            if looks > SPINS:
                give_way()
    return round_ + 1


@compiled
def _part(outputs: int, rank: int, size: int) -> tuple[int, int]:
    """A thread's outputs, from the first to before the last, in whole blocks."""
    blocks = outputs // OUTPUTS
    return blocks * rank // size * OUTPUTS, blocks * (rank + 1) // size * OUTPUTS


@compiled
def step(
    rank: int,
    size: int,
    meeting: Array,
    bits: int,
    heads: int,
    epsilon: float,
    tokens: Array,
    positions: Array,
    slots: Array,
    seen: Array,
    counts: Array,
    cache: Array,
    cosine: Array,
    sine: Array,
    embedding: Array,
    norms: Array,
    qkv: Array,
    qkv_scales: Array,
    out: Array,
    out_scales: Array,
    gate_up: Array,
    gate_up_scales: Array,
    down: Array,
    down_scales: Array,
    last_norm: Array,
    head: Array,
    head_scales: Array,
    x: Array,
    fused: Array,
    mixed: Array,
    inner: Array,
    moved: Array,
    features: Array,
    logits: Array,
) -> None:
    """The part of thread `rank` of `size`; `meeting` int64 [1] is 0 at the beginning.

    Reads `tokens` int64 [rows] at `positions` int64 [rows] into `slots` int64 [rows] of `cache` uint16 [layers, 2 x KV
    heads, slots, head's width]. Row r sees the first `counts` [r] of slots `seen` int64 [rows, ..], its own included;
    where all of them see slots in the same order, `seen` has one row. `cosine` and `sine` float32 [positions, head's
    width], `embedding` uint16 [vocabulary, width]. Weights of all layers are uint8 [layers, outputs, bytes] in blocks,
    their scales float32 [layers, ..] (`engine.models.fused_llama.block`). `x`, `fused`, `mixed`, `inner` and `moved`
    are the threads' common scratch. Writes `logits` float32 [last, outputs] of the last rows, and their `features`
    [layers watched, last, width].
    """
    rows, layers, last = len(x), len(norms), len(logits)
    widest = max(x.shape[1], mixed.shape[1], inner.shape[1])
    # Rows of a power of 2 would share the processor's cache's sets.
    if bits == 16:
        ready = np.empty((rows, 2 * widest + CHUNK), np.uint8)
    else:
        ready = np.empty((2 * rows, widest + CHUNK), np.uint8)
    units, starts = np.empty(rows, np.float32), np.empty((2 * rows, widest // CHUNK), np.int32)
    normed = np.empty_like(x)
    half = gate_up.shape[1] // 2
    kv_heads, round_ = cache.shape[1] // 2, 1
    if rank == 0:
        for row in range(rows):
            _widen(embedding[tokens[row]], x[row])
    round_ = _meet(meeting, size, round_)
    for layer in range(layers):
        _normalise(x, norms[layer, 0], epsilon, normed)
        _prepare(normed, bits, ready, units, starts)
        first, until = _part(qkv.shape[1], rank, size)
        _multiply(qkv[layer], qkv_scales[layer], bits, ready, units, starts, rows, fused, first, until)
        round_ = _meet(meeting, size, round_)
        for kv_head in range(rank, kv_heads, size):
            _attend(fused, kv_head, heads, positions, cosine, sine, cache[layer], slots, seen, counts, mixed)
        round_ = _meet(meeting, size, round_)
        _prepare(mixed, bits, ready, units, starts)
        first, until = _part(out.shape[1], rank, size)
        _multiply(out[layer], out_scales[layer], bits, ready, units, starts, rows, moved, first, until)
        _add(moved, x, first, until)
        round_ = _meet(meeting, size, round_)
        _normalise(x, norms[layer, 1], epsilon, normed)
        _prepare(normed, bits, ready, units, starts)
        first, until = _part(half, rank, size)
        for shift in (0, half):
            _multiply(
                gate_up[layer],
                gate_up_scales[layer],
                bits,
                ready,
                units,
                starts,
                rows,
                fused,
                shift + first,
                shift + until,
            )
        _gate(fused, inner, first, until)
        round_ = _meet(meeting, size, round_)
        _prepare(inner, bits, ready, units, starts)
        first, until = _part(down.shape[1], rank, size)
        _multiply(down[layer], down_scales[layer], bits, ready, units, starts, rows, moved, first, until)
        _add(moved, x, first, until)
        round_ = _meet(meeting, size, round_)
        watched = layer - layers + len(features)
        if rank == 0 and watched >= 0:
            features[watched] = x[rows - last :]
    if last == 0:  # a pass before the last one, of which only the cache is wanted
        return
    _normalise(x[rows - last :], last_norm, epsilon, normed[:last])
    if rank == 0 and len(features):
        features[-1] = normed[:last]
    _prepare(normed[:last], bits, ready, units, starts)
    first, until = _part(head.shape[0], rank, size)
    _multiply(head, head_scales, bits, ready, units, starts, last, logits, first, until)
