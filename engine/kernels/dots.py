"""Dot products of a few rows at once, of weights in bfloat16, 8 or 4 bits.

By the instructions that processors have for them where there is AVX-512 with BF16 and VNNI; with AVX2, numbers of
bfloat16 are widened and multiplied in float32, and codes by 16 bits or, of 4 bits, by 8.

These are intrinsics for numba's compiled functions, loops with all sums kept in registers. PyTorch's own products of
few rows reach a quarter to a half of a core's memory bandwidth; these reach it (docs/lab-notes.md,
"Speed on CPU cores"). A sum is of the same numbers in the same order, however many rows are read at once.

Addresses and strides are int64, in bytes.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, reduce
from typing import Any, Literal

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

CHUNK = 64  # bytes of a register
LANES = 16
FOUR = 4  # slots that scores are made of at once
HALVES = 2  # registers of outputs that a loop reads at once
OUTPUTS = HALVES * LANES  # weight rows of a block
AHEAD = 8192  # bytes that weights are fetched before they are read: a quarter of the nearest cache
STEP = 4 * OUTPUTS  # bytes of a block that are read at once
MOST_ROWS = 9  # that are read at once
# Rows and registers of outputs whose sums have room in the processor's registers, by the weight's bits.
SUMS_OF_A_PASS = {
    "avx512": {16: (MOST_ROWS, HALVES), 8: (6, HALVES), 4: (4, HALVES)},
    "avx2": {16: (5, 1), 8: (3, HALVES), 4: (3, HALVES)},
}
# How many rows of many are best read at once, and how many at most. AVX2 has registers for the sums of four rows of
# bfloat16; a fifth one costs as much as two, but a row by itself costs more (docs/lab-notes.md, "Speed on CPU cores").
ROWS_OF_A_TILE = {
    "avx512": dict.fromkeys((16, 8, 4), (MOST_ROWS, MOST_ROWS)),
    "avx2": {16: (4, 5), 8: (MOST_ROWS, MOST_ROWS), 4: (MOST_ROWS, MOST_ROWS)},
}
HALF = 128  # an activation's code is HALF times its high part, and a low one
ZERO = {8: 128, 4: 8}  # the code of a weight of 0, by the weight's bits

INT16, INT32, INT64, FLOAT = ir.IntType(16), ir.IntType(32), ir.IntType(64), ir.FloatType()
WORDS, FLOATS = ir.VectorType(INT32, LANES), ir.VectorType(FLOAT, LANES)
HALF_WORDS, HALF_SHORTS = ir.VectorType(INT32, LANES // 2), ir.VectorType(INT16, LANES)  # of AVX2's registers
HALF_BYTES = ir.VectorType(ir.IntType(8), 2 * LANES)

Instructions = Literal["avx512", "avx2"]
# What each kind of processor must have, by LLVM's names.
NEEDED: dict[Instructions, tuple[str, ...]] = {
    "avx512": ("avx512bf16", "avx512vnni"),
    "avx2": ("avx2", "fma"),
}


@cache
def instructions() -> Instructions | None:
    """The best instructions that the loops below are written for and this processor has."""
    features = binding.get_host_cpu_features()
    return next((kind for kind, names in NEEDED.items() if all(features.get(n, False) for n in names)), None)


@cache
def has_matrix_units() -> bool:
    """Whether this processor multiplies whole tiles of bfloat16 at once (AMX), which PyTorch does and these do not."""
    return bool(binding.get_host_cpu_features().get("amx-bf16", False))


@dataclass(frozen=True)
class Product:
    """What the product of a block is made of, as values of the code: addresses, strides and counts."""

    weights: Any
    scales: Any
    groups: Any
    steps: Any
    x: Any
    x_stride: Any
    starts: Any
    starts_stride: Any
    units: Any
    y: Any
    y_stride: Any
    ahead: Any
    pace: Any


class Emitter:
    """What the loops below are written with: `builder`'s instructions, at addresses."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder

    def call(self, name: str, result: Any, *given: Any) -> Any:
        """LLVM's intrinsic or the process's function of this name."""
        shape = ir.FunctionType(result, [value.type for value in given])
        function = cgutils.get_or_insert_function(self.builder.module, shape, name)  # type: ignore[no-untyped-call]
        return self.builder.call(function, given)

    def at(self, base: Any, offset: Any, pointed: Any) -> Any:
        """A pointer."""
        return self.builder.inttoptr(self.builder.add(base, offset), pointed.as_pointer())

    def load(self, base: Any, offset: Any, kind: Any = WORDS) -> Any:
        """A value, wherever it lies."""
        value = self.builder.load(self.at(base, offset, kind))
        value.align = 1
        return value

    def times(self, stride: Any, count: Any) -> Any:
        """A number of strides, each of them an integer here or in the code."""
        as_value = [INT64(value) if isinstance(value, int) else value for value in (stride, count)]
        return self.builder.mul(*as_value)

    def load_from(self, base: Any, row: int, stride: Any, place: Any) -> Any:
        """The 4 bytes at a place of a row."""
        offset = self.builder.add(self.times(stride, row), self.times(4, place))
        return self.load(base, offset, INT32)

    def register(self, step: Any, half: int) -> Any:
        """The offset of a register's worth of a step's outputs."""
        return self.builder.add(self.times(STEP, step), INT64(CHUNK * half))

    def fetch_ahead(self, given: Product, step: Any) -> None:
        """Have the weights brought near that lie `ahead` and are read later, `pace` bytes further with each step.

        The processor does so by itself, but not far enough ahead once several rows' sums fill its queues. Behind the
        last weights there may be nothing, which does no harm.
        """
        reading, nearest, data = INT32(0), INT32(3), INT32(1)
        first = self.builder.add(given.ahead, self.times(given.pace, step))
        for half in range(HALVES):
            place = self.builder.add(first, INT64(CHUNK * half))
            there = self.at(given.weights, place, ir.IntType(8))
            self.call("llvm.prefetch.p0", ir.VoidType(), there, reading, nearest, data)

    def store(self, value: Any, given: Product, row: int, half: int) -> None:
        """A register of a row's outputs."""
        place = self.builder.add(self.times(given.y_stride, row), INT64(CHUNK * half))
        self.builder.store(value, self.at(given.y, place, FLOATS)).align = 4

    @contextmanager
    def repeated(self, count: Any) -> Iterator[Any]:
        """A loop; gives the number of the round."""
        with cgutils.for_range(self.builder, count, intp=INT64) as loop:
            yield loop.index

    def codes(self, read: Any, bits: int) -> list[Any]:
        """A register of codes, as one or two of 8 bits."""
        if bits == 8:
            return [read]
        nibble, four = (ir.Constant(WORDS, [value] * LANES) for value in (0x0F0F0F0F, 4))
        return [self.builder.and_(read, nibble), self.builder.and_(self.builder.lshr(read, four), nibble)]

    def add_pairs(self, to: Any, weights: Any, pair: Any, kind: Instructions) -> None:
        """Products of each lane's two numbers of bfloat16, added up in `to`."""
        if kind == "avx512":
            self._add(to, "avx512bf16.dpbf16ps.512", weights, pair)
            return
        for weight, x in zip(self.halves(weights), self.halves(pair), strict=True):
            self.add_product(to, weight, x)

    def add_codes(
        self, to: Any, codes: Sequence[Any], x: Sequence[Any], bits: int, kind: Instructions
    ) -> None:
        """Products of each lane's unsigned codes and as many signed ones of `x`, added up in `to`, exactly."""
        if kind == "avx512":
            for some, signed in zip(codes, x, strict=True):
                self._add(to, "avx512.vpdpbusd.512", some, signed)
            return
        so_far, halves = self.builder.load(to), []
        for half in range(2):
            lanes = range(half * LANES // 2, (half + 1) * LANES // 2)
            parts = [[self.chosen(one, one, lanes) for one in given] for given in (codes, x)]
            products = self._of_small(*parts) if bits == 4 else self._of_bytes(*parts)
            total = self.chosen(so_far, so_far, lanes)
            for product in products:
                total = self.builder.add(total, product)
            halves.append(total)
        low, high = halves
        self.builder.store(self.chosen(low, high, range(LANES)), to)

    def _of_small(self, codes: Sequence[Any], x: Sequence[Any]) -> list[Any]:
        """Each lane's products with codes of 4 bits, whose sums have room in 16 bits."""
        name, sums = "llvm.x86.avx2.pmadd.ub.sw", []
        for some, signed in zip(codes, x, strict=True):
            bytes_ = [self.builder.bitcast(value, HALF_BYTES) for value in (some, signed)]
            sums.append(self.call(name, HALF_SHORTS, *bytes_))
        return [self._pairs(reduce(self.builder.add, sums), ir.Constant(HALF_SHORTS, [1] * LANES))]

    def _of_bytes(self, codes: Sequence[Any], x: Sequence[Any]) -> list[Any]:
        """Each lane's products with codes of 8 bits, which go by 16 bits: the even ones and the odd ones."""
        eight, products = ir.Constant(HALF_SHORTS, [8] * LANES), []
        for some, signed in zip(codes, x, strict=True):
            unsigned, numbers = (self.builder.bitcast(value, HALF_SHORTS) for value in (some, signed))
            even = self.builder.and_(unsigned, ir.Constant(HALF_SHORTS, [0xFF] * LANES))
            low = self.builder.ashr(self.builder.shl(numbers, eight), eight)
            products += [
                self._pairs(even, low),
                self._pairs(self.builder.lshr(unsigned, eight), self.builder.ashr(numbers, eight)),
            ]
        return products

    def _pairs(self, a: Any, b: Any) -> Any:
        """Products of 16 bits, two of them added up in each lane."""
        return self.call("llvm.x86.avx2.pmadd.wd", HALF_WORDS, a, b)

    def _add(self, to: Any, instruction: str, weights: Any, x: Any) -> None:
        so_far = self.builder.load(to)
        self.builder.store(self.call(f"llvm.x86.{instruction}", so_far.type, so_far, weights, x), to)

    def zeros(self, kind: Any, count: int) -> list[Any]:
        """Sums that are 0 from here on, which LLVM keeps in registers."""
        sums = [cgutils.alloca_once(self.builder, kind) for _ in range(count)]  # type: ignore[no-untyped-call]
        for one in sums:
            self.builder.store(ir.Constant(kind, [0] * LANES), one)
        return sums

    def add_product(self, to: Any, a: Any, b: Any) -> None:
        """Lane by lane, in float32 and rounded once."""
        self.builder.store(self.call("llvm.fma.v16f32", FLOATS, a, b, self.builder.load(to)), to)

    def chosen(self, a: Any, b: Any, lanes: Sequence[int]) -> Any:
        """Some lanes of `a` and `b`, which follow those of `a`."""
        mask = ir.Constant(ir.VectorType(INT32, len(lanes)), list(lanes))
        return self.builder.shuffle_vector(a, b, mask)

    def paired(self, a: Any, b: Any, pairs: Sequence[Sequence[int]]) -> Any:
        """The sum of two choices of lanes."""
        return self.builder.fadd(*(self.chosen(a, b, lanes) for lanes in pairs))

    def totals(self, four: Sequence[Any]) -> Any:
        """The sums of the lanes of four registers, as four lanes."""
        # Within each quarter of the registers, first between two of them and then between all.
        starts, n = range(0, LANES, FOUR), LANES
        twos = [
            [q + lane + n * of for q in starts for lane in low for of in (0, 1)] for low in ((0, 1), (2, 3))
        ]
        ab, cd = (self.paired(four[i], four[i + 1], twos) for i in (0, 2))
        both = [
            [q + lane + n * of for q in starts for of in (0, 1) for lane in low] for low in ((0, 1), (2, 3))
        ]
        each = self.paired(ab, cd, both)
        eight = self.paired(each, each, (range(8), range(8, 16)))
        return self.paired(eight, eight, (range(4), range(4, 8)))

    def spread(self, value: Any, kind: Any = FLOATS) -> Any:
        """A number in all lanes."""
        lanes = self.builder.insert_element(ir.Constant(kind, ir.Undefined), value, INT32(0))
        first = ir.Constant(ir.VectorType(INT32, kind.count), [0] * kind.count)
        return self.builder.shuffle_vector(lanes, lanes, first)

    def halves(self, words: Any) -> tuple[Any, Any]:
        """The even and the odd ones of 32 numbers of bfloat16, as float32."""
        sixteen, upper = (ir.Constant(WORDS, [bits] * LANES) for bits in (16, 0xFFFF0000))
        even, odd = self.builder.shl(words, sixteen), self.builder.and_(words, upper)
        return self.builder.bitcast(even, FLOATS), self.builder.bitcast(odd, FLOATS)


Generate = Callable[[Any, Any, Any, Sequence[Any]], Any]


def _generate(emit: Callable[..., None]) -> Generate:
    """How numba has an intrinsic's code made; `emit` gets an `Emitter` and the arguments' values."""

    def generate(context: Any, builder: Any, signature: Any, values: Sequence[Any]) -> Any:
        emit(Emitter(builder), *values)
        return context.get_dummy_value()

    return generate


@cache
def make_dots(bits: int, kind: Instructions) -> Any:
    """Products of a block of weights of 16, 8 or 4 bits and up to `MOST_ROWS` rows of x, into y [rows, OUTPUTS].

    A lane has one output, so sums never have to be added up across a register. `weights` [steps, OUTPUTS, 4 bytes]: two
    numbers of bfloat16, four unsigned codes, or eight codes of 4 bits, the first four of them in the bytes' lower
    halves. y is float32.

    With weights of 16 bits `x` is bfloat16 [rows, 2 x steps]. With others it is int8 [2 x rows, ..], the high and the
    low part of each row's codes, which are worth `HALF` and 1 of `units` float32 [rows]; and the products are told by
    groups of weights: `starts` int32 [2 x rows, groups] is what a group's sum begins with, -ZERO[bits] times the sum
    of x; `scales` [groups, OUTPUTS] are float32 for 8 bits, and for 4 the upper 16 bits are a scale and the lower ones
    an offset, both bfloat16. A weight is scale x (code - ZERO[bits]) + offset.

    Meanwhile it fetches what lies `ahead` bytes behind the block's beginning, `pace` bytes further with each step.
    """

    def dots_16(to: Emitter, given: Product, rows: range, halves: range) -> None:
        sums = {row: to.zeros(FLOATS, HALVES) for row in rows}
        with to.repeated(given.steps) as step:
            if rows.start == 0 and halves.start == 0:
                to.fetch_ahead(given, step)
            read = {half: to.load(given.weights, to.register(step, half)) for half in halves}
            for row in rows:
                pair = to.spread(to.load_from(given.x, row, given.x_stride, step), WORDS)
                for half in halves:
                    to.add_pairs(sums[row][half], read[half], pair, kind)
        for row in rows:
            for half in halves:
                to.store(to.builder.load(sums[row][half]), given, row, half)

    def dots_8_or_4(to: Emitter, given: Product, rows: range, halves: range) -> None:
        builder, parts = to.builder, range(2 * rows.start, 2 * rows.stop)
        totals = {row: to.zeros(FLOATS, HALVES) for row in rows}
        sums = {part: to.zeros(WORDS, HALVES) for part in parts}
        with to.repeated(given.groups) as group:
            starts = {p: to.load_from(given.starts, p, given.starts_stride, group) for p in parts}
            for part in parts:
                for half in halves:
                    builder.store(to.spread(starts[part], WORDS), sums[part][half])
            with to.repeated(given.steps) as in_group:
                step = builder.add(builder.mul(group, given.steps), in_group)
                if rows.start == 0 and halves.start == 0:
                    to.fetch_ahead(given, step)
                read = {
                    half: to.codes(to.load(given.weights, to.register(step, half)), bits) for half in halves
                }
                # AVX2 adds up the products of both halves of a byte before it widens them.
                fours = 8 // bits
                together = fours if kind == "avx2" else 1
                for first in range(0, fours, together):
                    some = range(first, first + together)
                    places = [builder.add(builder.mul(step, INT64(fours)), INT64(four)) for four in some]
                    for part in parts:
                        x = [
                            to.spread(to.load_from(given.x, part, given.x_stride, place), WORDS)
                            for place in places
                        ]
                        for half in halves:
                            codes = [read[half][four] for four in some]
                            to.add_codes(sums[part][half], codes, x, bits, kind)
            for half in halves:
                scale = to.load(given.scales, to.register(group, half), FLOATS if bits == 8 else WORDS)
                if bits == 4:
                    offset, scale = to.halves(scale)
                for row in rows:
                    high, low = (
                        builder.sitofp(builder.load(sums[2 * row + part][half]), FLOATS) for part in range(2)
                    )
                    value = to.call("llvm.fma.v16f32", FLOATS, high, ir.Constant(FLOATS, [HALF] * LANES), low)
                    to.add_product(totals[row][half], value, scale)
                    if bits == 4:
                        both = builder.add(builder.mul(starts[2 * row], INT32(HALF)), starts[2 * row + 1])
                        sum_ = builder.fmul(builder.sitofp(both, FLOAT), ir.Constant(FLOAT, -1 / ZERO[bits]))
                        to.add_product(totals[row][half], to.spread(sum_), offset)
        for row in rows:
            unit = to.spread(to.load(given.units, INT64(4 * row), FLOAT))
            for half in halves:
                to.store(builder.fmul(builder.load(totals[row][half]), unit), given, row, half)

    def emit_rows(to: Emitter, given: Product, rows: int) -> None:
        # More go over the block again, which is near by then: the registers have no room for their sums.
        at_once, halves_at_once = SUMS_OF_A_PASS[kind][bits]
        passes = -(-rows // at_once)
        dots = dots_16 if bits == 16 else dots_8_or_4
        for one in range(passes):
            for half in range(0, HALVES, halves_at_once):
                some = range(rows * one // passes, rows * (one + 1) // passes)
                dots(to, given, some, range(half, half + halves_at_once))

    def emit(to: Emitter, rows: Any, *addresses: Any) -> None:
        given, done = Product(*addresses), to.builder.append_basic_block("done")
        which = to.builder.switch(rows, done)
        for count in range(1, MOST_ROWS + 1):
            of_so_many = to.builder.append_basic_block(f"rows_{count}")
            which.add_case(INT64(count), of_so_many)
            to.builder.position_at_end(of_so_many)
            emit_rows(to, given, count)
            to.builder.branch(done)
        to.builder.position_at_end(done)

    @intrinsic
    def dots(
        typing: Any,
        rows: Any,
        weights: Any,
        scales: Any,
        groups: Any,
        steps: Any,
        x: Any,
        x_stride: Any,
        starts: Any,
        starts_stride: Any,
        units: Any,
        y: Any,
        y_stride: Any,
        ahead: Any,
        pace: Any,
    ) -> Any:
        return types.void(*[types.int64] * 14), _generate(emit)

    return dots


@cache
def make_scores(queries: int) -> Any:
    """Products of float32 queries and the bfloat16 keys of `count` slots, into y float32 [queries, count].

    `keys` [slots, chunks x CHUNK bytes], of which `slots` int64 [count] names some. `x` [queries, chunks x 32]: each
    chunk's even numbers before its odd ones. Slots go by `FOUR`, so that behind a row of y there must be room for
    three more.
    """

    def emit(
        to: Emitter, keys: Any, slots: Any, count: Any, x: Any, chunks: Any, y: Any, y_stride: Any
    ) -> None:
        builder, width = to.builder, to.times(CHUNK, chunks)
        last = builder.sub(count, INT64(1))
        fours = builder.sdiv(builder.add(count, INT64(FOUR - 1)), INT64(FOUR))
        with to.repeated(fours) as four:
            first = to.times(FOUR, four)
            each = [builder.add(first, INT64(i)) for i in range(FOUR)]
            # The last slot stands in for those that there are not.
            within = [builder.select(builder.icmp_signed("<", i, last), i, last) for i in each]
            rows = [
                builder.add(keys, builder.mul(to.load(slots, to.times(8, i), INT64), width)) for i in within
            ]
            sums = [to.zeros(FLOATS, FOUR) for _ in range(queries)]
            with to.repeated(chunks) as chunk:
                halves = [to.halves(to.load(row, to.times(CHUNK, chunk))) for row in rows]
                for query in range(queries):
                    for half in range(2):
                        place = builder.add(to.times(2 * CHUNK, chunk), INT64(CHUNK * half))
                        row = to.times(builder.mul(INT64(2 * CHUNK), chunks), query)
                        turned = to.load(x, builder.add(row, place), FLOATS)
                        for i in range(FOUR):
                            to.add_product(sums[query][i], halves[i][half], turned)
            for query in range(queries):
                place = builder.add(to.times(y_stride, query), to.times(4, first))
                totals = to.totals([builder.load(one) for one in sums[query]])
                builder.store(totals, to.at(y, place, totals.type)).align = 4

    @intrinsic
    def scores(
        typing: Any, keys: Any, slots: Any, count: Any, x: Any, chunks: Any, y: Any, y_stride: Any
    ) -> Any:
        return types.void(*[types.int64] * 7), _generate(emit)

    return scores


@cache
def make_mix(queries: int) -> Any:
    """Sums of the bfloat16 values of `count` slots, each by its share, into y float32 [queries, chunks x 32].

    `values` and `slots` as in `make_scores`, `shares` float32 [queries, count]; of `y`, too, each chunk's even numbers
    lie before its odd ones.
    """

    def emit(
        to: Emitter, values: Any, slots: Any, count: Any, shares: Any, stride: Any, chunks: Any, y: Any
    ) -> None:
        width = to.times(CHUNK, chunks)
        with cgutils.for_range(to.builder, chunks, intp=INT64) as loop:
            offset = to.times(CHUNK, loop.index)
            sums = [to.zeros(FLOATS, 2) for _ in range(queries)]
            with cgutils.for_range(to.builder, count, intp=INT64) as seen:
                slot = to.load(slots, to.times(8, seen.index), INT64)
                halves = to.halves(to.load(values, to.builder.add(to.times(slot, width), offset)))
                for query in range(queries):
                    place = to.builder.add(to.times(stride, query), to.times(4, seen.index))
                    share = to.spread(to.load(shares, place, FLOAT))
                    for half in range(2):
                        to.add_product(sums[query][half], halves[half], share)
            for query in range(queries):
                for half in range(2):
                    row = to.times(to.times(2, width), query)
                    place = to.builder.add(to.builder.add(row, to.times(2, offset)), INT64(CHUNK * half))
                    pointer = to.at(y, place, FLOATS)
                    to.builder.store(to.builder.load(sums[query][half]), pointer).align = 4

    @intrinsic
    def mix(
        typing: Any, values: Any, slots: Any, count: Any, shares: Any, stride: Any, chunks: Any, y: Any
    ) -> Any:
        return types.void(*[types.int64] * 7), _generate(emit)

    return mix


@intrinsic
def arrive(typing: Any, counter: Any) -> Any:
    """Add 1 to the int64 at an address, seen by other threads in order."""

    def generate(context: Any, builder: Any, signature: Any, values: Sequence[Any]) -> Any:
        return builder.atomic_rmw("add", builder.inttoptr(values[0], INT64.as_pointer()), INT64(1), "seq_cst")

    return types.int64(types.int64), generate


@intrinsic
def arrived(typing: Any, counter: Any) -> Any:
    """The int64 at an address, as other threads have left it."""

    def generate(context: Any, builder: Any, signature: Any, values: Sequence[Any]) -> Any:
        return builder.load_atomic(builder.inttoptr(values[0], INT64.as_pointer()), "seq_cst", 8)

    return types.int64(types.int64), generate


@intrinsic
def give_way(typing: Any) -> Any:
    """Let another thread have this core."""

    def generate(context: Any, builder: Any, signature: Any, values: Sequence[Any]) -> Any:
        return Emitter(builder).call("sched_yield", INT32)

    return types.int32(), generate
