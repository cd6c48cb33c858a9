"""A whole forward over a few rows as one compiled function: what the arithmetic needs, and nothing between it.

Activations are float32. Products read them rounded, to bfloat16 where the weights are bfloat16, and by row to 15 bits
where the weights have 8; keys and values are kept in bfloat16. A row's numbers are the same however many rows are
read at once. Several threads may run it for one forward: each computes part of the outputs of every product and part
of the heads, and between these they wait for each other; or, of many rows, each computes all of some of them.
"""

from typing import Any

import numpy as np

from engine.kernels.compiled import bits_as_float, compiled, exp, narrow, widen
from engine.kernels.dots import (
    AHEAD,
    CHUNK,
    HALF,
    MOST_ROWS,
    OUTPUTS,
    ROWS_OF_A_TILE,
    STEP,
    ZERO,
    arrive,
    arrived,
    give_way,
    instructions,
    make_dots,
)
from engine.kernels.fused_attention import attend, keep

Array = Any  # an array, as numba takes it: its dtype is in each docstring that cares
TOP = 127 * HALF  # the largest rounded activation
FETCHED = (
    1 << 18
)  # bytes of a block up to which all of the next one is fetched: half of a core's second cache
SHARED_ROWS = 4  # from which threads share heads that do not come out even, which takes one more meeting
SPINS = 2000  # looks for the others before the core is offered to another thread

# Compiled functions find these as globals, or they could not be kept on disk.
_dots_16, _dots_8, _dots_4 = (make_dots(bits, instructions() or "avx2") for bits in (16, 8, 4))
_zero_8, _zero_4 = ZERO[8], ZERO[4]
_best_16, _most_16 = ROWS_OF_A_TILE[instructions() or "avx2"][16]


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
            narrow(x[row], ready[row].view(np.uint16))
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
    block = OUTPUTS * w_stride
    groups = 2 * weights.shape[1] // CHUNK if bits == 4 else 1
    steps, parts = weights.shape[1] // 4 // groups, 1 if bits == 16 else 2
    best, most = (_best_16, _most_16) if bits == 16 else (MOST_ROWS, MOST_ROWS)
    tiles = max(1, (rows + 2 * best - 1 - most) // best)  # as few as have no more than `most` rows each
    # Once and not for each block: an address is asked for by counting who holds the array, which all threads do.
    all_w, all_scales, all_x, all_starts, all_units, all_y = (
        weights.ctypes.data,
        scales.ctypes.data,
        ready.ctypes.data,
        starts.ctypes.data,
        units.ctypes.data,
        y.ctypes.data,
    )
    for output in range(first, last, OUTPUTS):
        w, each = all_w + output * w_stride, all_scales + 4 * groups * output
        for tile in range(tiles):
            row, end = rows * tile // tiles, rows * (tile + 1) // tiles
            x, s = all_x + parts * row * x_stride, all_starts + parts * row * s_stride
            u, to = all_units + 4 * row, all_y + row * y_stride + 4 * output
            # While a block is near, each tile of rows fetches its part of the next one.
            ahead, pace = AHEAD, STEP
            if tiles > 1 and block <= FETCHED:
                ahead, pace = block + block * tile // tiles, STEP // tiles
            if bits == 16:
                _dots_16(
                    end - row, w, each, groups, steps, x, x_stride, s, s_stride, u, to, y_stride, ahead, pace
                )
            elif bits == 8:
                _dots_8(
                    end - row, w, each, groups, steps, x, x_stride, s, s_stride, u, to, y_stride, ahead, pace
                )
            else:
                _dots_4(
                    end - row, w, each, groups, steps, x, x_stride, s, s_stride, u, to, y_stride, ahead, pace
                )


@compiled
def multiply_repeatedly(
    times: int, weights: Array, scales: Array, ready: Array, units: Array, starts: Array, y: Array
) -> None:
    """All outputs of `weights` of 16 bits so many times, for rows made ready, into `y`: how fast it is by itself."""
    for _ in range(times):
        _multiply(weights, scales, 16, ready, units, starts, len(y), y, 0, len(weights))


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
def _meet(meeting: Array, size: int, round_: int) -> int:
    """Wait until all threads have come to this round; returns the next one. One that is alone has no rounds."""
    if size == 1:
        return round_
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
def _pick(x: Array, wanted: Array, to: Array) -> None:
    """Rows of `x` to where they are `wanted` among those of `to`; below 0: nowhere."""
    for row in range(len(x)):
        if wanted[row] >= 0:
            to[wanted[row]] = x[row]


@compiled
def step(
    # Which part of the forward this thread computes.
    rank: int,
    size: int,
    apart: bool,
    meeting: Array,
    # The model's numbers.
    bits: int,
    heads: int,
    epsilon: float,
    # The rows: what they are, where they are written, and what they see.
    tokens: Array,
    positions: Array,
    slots: Array,
    seen: Array,
    counts: Array,
    # What `engine.models.fused_llama.Slots` has.
    cache: Array,
    cosine: Array,
    sine: Array,
    # The model's weights, those of products with their scales, as `engine.models.fused_llama.Blocks` has them.
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
    # What `engine.models.fused_llama.Scratch` has.
    x: Array,
    fused: Array,
    mixed: Array,
    inner: Array,
    moved: Array,
    # Which rows are wanted, and what is found of them.
    wanted: Array,
    ends: Array,
    features: Array,
    logits: Array,
) -> None:
    """The part of thread `rank` of `size`; `meeting` int64 [1] is 0 at the beginning.

    Arguments come one by one, since named tuples do not pass cheaply into compiled code that is kept on disk, and by
    place: the comments between them name the groups in which `engine.models.fused_llama.FusedLlama.forward`, the only
    caller, gives them.

    Threads share the outputs of all rows, or (`apart`) each has rows of its own, which meet in the cache and at the
    end.

    Reads `tokens` int64 [rows] at `positions` int64 [rows] into `slots` int64 [rows] of `cache` uint16 [layers, 2 x KV
    heads, slots, head's width]. Row r sees the first `counts` [r] of slots `seen` int64 [rows, ..], its own included;
    where all of them see slots in the same order, `seen` has one row. `cosine` and `sine` float32 [positions, head's
    width], `embedding` uint16 [vocabulary, width]. Weights of all layers are uint8 [layers, outputs, bytes] in blocks,
    their scales float32 [layers, ..] (`engine.models.fused_llama.block`). `x`, `fused`, `mixed`, `inner` and `moved`
    are scratch for the rows, and common to threads that share them. Writes `logits` float32 [last, outputs] of the
    rows that are wanted, and their `features` [layers watched, last, width]: `wanted` int64 [rows] says which of them a
    row is, below 0 none. `ends` float32 [last, width] is what comes out for them: the last rows of a shared `x`.
    """
    rows, layers, last = len(x), len(norms), len(logits)
    turn, turns = (0, 1) if apart else (rank, size)  # in the outputs of the rows that it has
    widest = max(x.shape[1], mixed.shape[1], inner.shape[1])
    most = max(rows, last)
    # Rows of a power of 2 would share the processor's cache's sets.
    if bits == 16:
        ready = np.empty((most, 2 * widest + CHUNK), np.uint8)
    else:
        ready = np.empty((2 * most, widest + CHUNK), np.uint8)
    units, starts = np.empty(most, np.float32), np.empty((2 * most, widest // CHUNK), np.int32)
    both = np.empty((most, x.shape[1]), np.float32)
    normed, normed_ends = both[:rows], both[:last]
    half = gate_up.shape[1] // 2
    kv_heads, round_ = cache.shape[1] // 2, 1
    if turn == 0:
        for row in range(rows):
            widen(embedding[tokens[row]], x[row])
    round_ = _meet(meeting, turns, round_)
    for layer in range(layers):
        _normalise(x, norms[layer, 0], epsilon, normed)
        _prepare(normed, bits, ready, units, starts)
        first, until = _part(qkv.shape[1], turn, turns)
        _multiply(qkv[layer], qkv_scales[layer], bits, ready, units, starts, rows, fused, first, until)
        round_ = _meet(meeting, turns, round_)
        places = (positions, cosine, sine, cache[layer])
        share = apart or (rows >= SHARED_ROWS and kv_heads % size > 0)
        for kv_head in range(turn, kv_heads, turns):
            keep(fused, kv_head, heads, *places, slots)
            if not share:
                attend(fused, kv_head, heads, 0, rows, *places, seen, counts, mixed)
        if share:
            round_ = _meet(meeting, size, round_)
            first, until = rows * kv_heads * turn // turns, rows * kv_heads * (turn + 1) // turns
            for kv_head in range(first // rows, (until + rows - 1) // rows):
                begin, end = max(first - kv_head * rows, 0), min(until - kv_head * rows, rows)
                attend(fused, kv_head, heads, begin, end, *places, seen, counts, mixed)
        round_ = _meet(meeting, turns, round_)
        _prepare(mixed, bits, ready, units, starts)
        first, until = _part(out.shape[1], turn, turns)
        _multiply(out[layer], out_scales[layer], bits, ready, units, starts, rows, moved, first, until)
        _add(moved, x, first, until)
        round_ = _meet(meeting, turns, round_)
        _normalise(x, norms[layer, 1], epsilon, normed)
        _prepare(normed, bits, ready, units, starts)
        first, until = _part(half, turn, turns)
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
        round_ = _meet(meeting, turns, round_)
        _prepare(inner, bits, ready, units, starts)
        first, until = _part(down.shape[1], turn, turns)
        _multiply(down[layer], down_scales[layer], bits, ready, units, starts, rows, moved, first, until)
        _add(moved, x, first, until)
        round_ = _meet(meeting, turns, round_)
        watched = layer - layers + len(features)
        if watched >= 0 and turn == 0:
            _pick(x, wanted, features[watched])
    if last == 0:  # a pass before the last one, of which only the cache is wanted
        return
    if apart:
        _pick(x, wanted, ends)
        round_ = _meet(meeting, size, round_)
    _normalise(ends, last_norm, epsilon, normed_ends)
    if rank == 0 and len(features):
        features[-1] = normed_ends
    _prepare(normed_ends, bits, ready, units, starts)
    first, until = _part(head.shape[0], rank, size)
    _multiply(head, head_scales, bits, ready, units, starts, last, logits, first, until)
