"""Dot products of a few rows at once, by the instructions that processors have for bfloat16 and for 8 bits.

These are intrinsics for numba's compiled functions, loops with all sums kept in registers. PyTorch's own products of
few rows reach a quarter to a half of a core's memory bandwidth on such processors; these reach it (docs/design.md,
"Speed on CPU cores"). A sum is of the same numbers in the same order, however many rows are read at once.

Addresses and strides are int64, in bytes.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

OUTPUTS = 4  # weight rows that a loop reads at once
CHUNK = 64  # bytes of a row that an instruction takes: 32 numbers of bfloat16, 64 of 8 bits
LANES = 16

INT32, INT64, FLOAT = ir.IntType(32), ir.IntType(64), ir.FloatType()
WORDS, FLOATS = ir.VectorType(INT32, LANES), ir.VectorType(FLOAT, LANES)
BY_KIND = {  # what a product of two chunks is added to, and by which instruction
    "bfloat16": (FLOATS, "llvm.x86.avx512bf16.dpbf16ps.512"),
    "int8": (WORDS, "llvm.x86.avx512.vpdpbusd.512"),
}


class Emitter:
    """What the loops below are written with: `builder`'s instructions, at addresses."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder

    def call(self, name: str, result: Any, *given: Any, freely: Sequence[str] = ()) -> Any:
        """LLVM's intrinsic or the process's function of this name."""
        shape = ir.FunctionType(result, [value.type for value in given])
        function = cgutils.get_or_insert_function(self.builder.module, shape, name)  # type: ignore[no-untyped-call]
        return self.builder.call(function, given, fastmath=freely)

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

    def zeros(self, kind: Any, count: int) -> list[Any]:
        """Sums that are 0 from here on, which LLVM keeps in registers."""
        sums = [cgutils.alloca_once(self.builder, kind) for _ in range(count)]  # type: ignore[no-untyped-call]
        for one in sums:
            self.builder.store(ir.Constant(kind, [0] * LANES), one)
        return sums

    def add_product(self, to: Any, a: Any, b: Any) -> None:
        """Lane by lane, in float32 and rounded once."""
        self.builder.store(self.call("llvm.fma.v16f32", FLOATS, a, b, self.builder.load(to)), to)

    def total(self, lanes: Any) -> Any:
        """The sum of a sum's lanes."""
        value = self.builder.load(lanes)
        if value.type == WORDS:
            return self.call("llvm.vector.reduce.add.v16i32", INT32, value)
        # A float's reduction begins with a value of its own, and may add lanes pairwise.
        zero = ir.Constant(FLOAT, -0.0)
        return self.call("llvm.vector.reduce.fadd.v16f32", FLOAT, zero, value, freely=("reassoc",))

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
def make_dots(kind: str, rows: int) -> Any:
    """Products of weights [chunks, OUTPUTS, CHUNK bytes] and `rows` rows of x, into y [rows, OUTPUTS].

    Of "bfloat16" into float32; of "int8", with unsigned weights and signed x, into int32. Needs AVX-512 with BF16 or
    VNNI.
    """
    lanes, instruction = BY_KIND[kind]

    def emit(to: Emitter, weights: Any, x: Any, x_stride: Any, chunks: Any, y: Any, y_stride: Any) -> None:
        sums = [to.zeros(lanes, rows) for _ in range(OUTPUTS)]
        with cgutils.for_range(to.builder, chunks, intp=INT64) as loop:
            offset = to.times(CHUNK, loop.index)
            block = to.builder.add(weights, to.times(OUTPUTS, offset))
            read = [to.load(block, INT64(CHUNK * output)) for output in range(OUTPUTS)]
            for row in range(rows):
                activations = to.load(x, to.builder.add(offset, to.times(x_stride, row)))
                for output in range(OUTPUTS):
                    so_far = to.builder.load(sums[output][row])
                    added = to.call(instruction, lanes, so_far, read[output], activations)
                    to.builder.store(added, sums[output][row])
        for output in range(OUTPUTS):
            for row in range(rows):
                total = to.total(sums[output][row])
                place = to.builder.add(to.times(y_stride, row), INT64(4 * output))
                to.builder.store(total, to.at(y, place, total.type))

    @intrinsic
    def dots(typing: Any, weights: Any, x: Any, x_stride: Any, chunks: Any, y: Any, y_stride: Any) -> Any:
        return types.void(*[types.int64] * 6), _generate(emit)

    return dots


@cache
def make_nibble_dots(rows: int) -> Any:
    """Products of 4-bit weights in groups of `CHUNK` and `rows` rows of x, into y float32 [rows, OUTPUTS].

    `weights` [groups, OUTPUTS / 2, CHUNK bytes]: codes of two outputs in a byte, the first one's lower. `steps`
    [groups, OUTPUTS]: of each 32 bits the upper 16 are a scale, the lower an offset, both bfloat16; a weight is
    scale x (code - 8) + offset. `x` int8 [2 x rows, groups x CHUNK]: the high and the low part of each row, which are
    worth 128 and 1; `sums` float32 [rows, groups] of these numbers. Needs AVX-512 with VNNI.
    """
    four_words, four_floats = ir.VectorType(INT32, OUTPUTS), ir.VectorType(FLOAT, OUTPUTS)
    instruction = BY_KIND["int8"][1]

    def constant(kind: Any, value: float) -> Any:
        return ir.Constant(kind, [value] * kind.count)

    def emit(
        to: Emitter,
        weights: Any,
        steps: Any,
        x: Any,
        x_stride: Any,
        sums: Any,
        sums_stride: Any,
        groups: Any,
        y: Any,
        y_stride: Any,
    ) -> None:
        builder = to.builder
        totals = [to.zeros(FLOATS, rows) for _ in range(OUTPUTS)]
        offsets = [cgutils.alloca_once(builder, four_floats) for _ in range(rows)]  # type: ignore[no-untyped-call]
        for one in offsets:
            builder.store(constant(four_floats, 0.0), one)
        with cgutils.for_range(builder, groups, intp=INT64) as loop:
            codes = []
            for pair in range(OUTPUTS // 2):
                place = to.times(CHUNK, builder.add(to.times(OUTPUTS // 2, loop.index), INT64(pair)))
                both = to.load(weights, place)
                nibble = constant(WORDS, 0x0F0F0F0F)
                codes += [builder.and_(both, nibble)]
                codes += [builder.and_(builder.lshr(both, constant(WORDS, 4)), nibble)]
            step = to.load(steps, to.times(4 * OUTPUTS, loop.index), four_words)
            scale = builder.bitcast(builder.and_(step, constant(four_words, 0xFFFF0000)), four_floats)
            offset = builder.bitcast(builder.shl(step, constant(four_words, 16)), four_floats)
            offset = builder.fsub(offset, builder.fmul(scale, constant(four_floats, 8.0)))
            wide = [to.spread(builder.extract_element(scale, INT32(output))) for output in range(OUTPUTS)]
            for row in range(rows):
                parts = []
                for part in range(2):
                    place = builder.add(to.times(CHUNK, loop.index), to.times(x_stride, 2 * row + part))
                    parts.append(to.load(x, place))
                for output in range(OUTPUTS):
                    high = to.call(instruction, WORDS, constant(WORDS, 0), codes[output], parts[0])
                    high = builder.shl(high, constant(WORDS, 7))
                    both = to.call(instruction, WORDS, high, codes[output], parts[1])
                    to.add_product(totals[output][row], builder.sitofp(both, FLOATS), wide[output])
                place = builder.add(to.times(sums_stride, row), to.times(4, loop.index))
                sum_ = to.spread(to.load(sums, place, FLOAT), four_floats)
                so_far = builder.load(offsets[row])
                builder.store(builder.fadd(so_far, builder.fmul(offset, sum_)), offsets[row])
        for row in range(rows):
            extra = builder.load(offsets[row])
            for output in range(OUTPUTS):
                found = builder.fadd(
                    to.total(totals[output][row]), builder.extract_element(extra, INT32(output))
                )
                place = builder.add(to.times(y_stride, row), INT64(4 * output))
                builder.store(found, to.at(y, place, FLOAT))

    @intrinsic
    def dots(
        typing: Any,
        weights: Any,
        steps: Any,
        x: Any,
        x_stride: Any,
        sums: Any,
        sums_stride: Any,
        groups: Any,
        y: Any,
        y_stride: Any,
    ) -> Any:
        return types.void(*[types.int64] * 9), _generate(emit)

    return dots


@cache
def make_scores(queries: int) -> Any:
    """Products of float32 queries and the bfloat16 keys of `count` slots, into y float32 [queries, count].

    `keys` [slots, chunks x CHUNK bytes], of which `slots` int64 [count] names some. `x` [queries, chunks x 32]: each
    chunk's even numbers before its odd ones.
    """

    def emit(
        to: Emitter, keys: Any, slots: Any, count: Any, x: Any, chunks: Any, y: Any, y_stride: Any
    ) -> None:
        with cgutils.for_range(to.builder, count, intp=INT64) as seen:
            slot = to.load(slots, to.times(8, seen.index), INT64)
            key = to.builder.add(keys, to.times(slot, to.times(CHUNK, chunks)))
            sums = to.zeros(FLOATS, queries)
            with cgutils.for_range(to.builder, chunks, intp=INT64) as loop:
                halves = to.halves(to.load(key, to.times(CHUNK, loop.index)))
                for query in range(queries):
                    row = to.times(to.times(2 * CHUNK, chunks), query)
                    for half in range(2):
                        offset = to.builder.add(to.times(2 * CHUNK, loop.index), INT64(CHUNK * half))
                        turned = to.load(x, to.builder.add(row, offset), FLOATS)
                        to.add_product(sums[query], halves[half], turned)
            for query in range(queries):
                place = to.builder.add(to.times(y_stride, query), to.times(4, seen.index))
                to.builder.store(to.total(sums[query]), to.at(y, place, FLOAT))

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
def bits_as_float(typing: Any, bits: Any) -> Any:
    """The float32 whose bits are this uint32."""

    def generate(context: Any, builder: Any, signature: Any, values: Sequence[Any]) -> Any:
        return builder.bitcast(values[0], FLOAT)

    return types.float32(types.uint32), generate


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
