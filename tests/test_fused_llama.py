"""The compiled forward computes what PyTorch's does, and each row the same whatever is read beside it."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from calibrate.traces.hrad_examples import knowledge
from engine.kernels.linear import round_weight
from engine.models.cached_model import CachedModel
from engine.models.decoder import WATCHED_LAYERS
from engine.models.fused_llama import APART_ROWS, block, has_instructions, most_rows
from engine.models.llama import Llama
from engine.models.rows import rows_behind
from engine.models.specs import TARGET
from engine.runtime.worker_process import Host, Hosted

PREFIX = [1 + (7 * i) % 60 for i in range(37)]
MOST_ROWS = 9  # of a tile (`engine.kernels.dots`, which needs numba)
needed = pytest.mark.skipif(not has_instructions(), reason="this processor has neither AVX2 nor AVX-512")


def random_llama(
    heads: int = 4, kv_heads: int = 2, width: int = 32, vocabulary: int = 61, inner: int = 192
) -> Any:
    torch.manual_seed(heads + 10 * kv_heads + width)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=heads * width,
        intermediate_size=inner,
        num_hidden_layers=5,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=width,
        initializer_range=(heads * width) ** -0.5,
    )
    model: Any = LlamaForCausalLM(config)
    return model.eval()


def lean(model: Any, bits: int | None = None, dtype: torch.dtype = torch.bfloat16) -> Llama:
    # A small capacity, so that the cache must grow.
    return Llama(model.config, model.state_dict(), dtype, bits=bits, capacity=8)


def read(decoder: Llama, tokens: Sequence[int], start: int) -> torch.Tensor:
    """A copy of the logits of tokens behind `start` others."""
    return decoder.forward([rows_behind(tuple(tokens), start)]).clone()


@needed
@pytest.mark.parametrize("bits", [None, 8, 4])
@pytest.mark.parametrize("shape", [(4, 2, 32), (9, 3, 64), (2, 2, 64), (6, 1, 32), (5, 1, 128)])
def test_it_is_as_near_to_float32_as_pytorch_is(bits: int | None, shape: tuple[int, int, int]) -> None:
    """Logits and features, of the rounded weights."""
    model = random_llama(*shape)
    fused, plain, exact = lean(model, bits), lean(model, bits), lean(model, bits, torch.float32)
    assert fused.fused is not None
    assert exact.fused is None
    plain.fused = None
    for decoder in (fused, plain, exact):
        decoder.watch = True
        read(decoder, PREFIX, 0)
    for count in (1, 3, MOST_ROWS + 4):
        logits, features = [], []
        for decoder in (fused, plain, exact):
            logits.append(read(decoder, PREFIX[:count], len(PREFIX)).float())
            features.append(decoder.features.float().clone())
        assert logits[0].shape == logits[2].shape
        assert features[0].shape == features[2].shape
        for got, usual, expected in (logits, features):
            away, usually = ((one - expected).norm() / expected.norm() for one in (got, usual))
            assert float(away) < float(usually) * 1.2


@needed
@pytest.mark.parametrize("bits", [None, 8, 4])
# No more rows than the compiled forward reads here: PyTorch, which has those beyond, promises nothing of the kind.
@pytest.mark.parametrize("count", sorted({*range(2, 2 * MOST_ROWS + 1), min(31, most_rows(8)), most_rows(8)}))
def test_a_row_is_the_same_whatever_is_read_beside_it(bits: int | None, count: int) -> None:
    """To the last bit: so greedy texts are the same however many tokens are verified at once."""
    decoder = lean(random_llama(), bits)
    read(decoder, PREFIX, 0)
    line = (list(PREFIX) * (1 + count // len(PREFIX)))[:count]
    together = read(decoder, line, len(PREFIX))
    alone = [read(decoder, [line[i]], len(PREFIX) + i)[0] for i in range(count)]
    assert torch.equal(together, torch.stack(alone))
    model = CachedModel(decoder)
    for last in (1, count // 2, count - 1):
        model.cache.tokens = list(PREFIX)
        assert torch.equal(model.read(line, last), together[-last:].float())


@needed
def test_many_branches_are_what_their_lines_are() -> None:
    """Where they are more than one tile of rows."""
    model = random_llama()
    branches = CachedModel(lean(model, None))
    branches.read(PREFIX)
    firsts = range(3, MOST_ROWS + 6)
    branches.read_nodes(firsts, [-1] * len(firsts))
    found = branches.read_nodes([5] * len(firsts), range(len(firsts)))
    for row, first in enumerate(firsts):
        straight = CachedModel(lean(model, None))
        straight.read(PREFIX)
        assert torch.equal(found[row], straight.read([first, 5])[-1])


@needed
@pytest.mark.parametrize("bits", [None, 8, 4])
def test_branches_are_what_their_lines_are(bits: int | None) -> None:
    """To the last bit too, although other branches' tokens lie between theirs."""
    branches, model = CachedModel(lean(random_llama(), bits)), random_llama()
    branches.read(PREFIX)
    branches.read_nodes([3, 9, 5], [-1] * 3)
    found = branches.read_nodes([4, 8, 7], range(3))
    for row, line in enumerate(([3, 4], [9, 8], [5, 7])):
        straight = CachedModel(lean(model, bits))
        straight.read(PREFIX)
        assert torch.equal(found[row], straight.read(line)[-1])


@needed
@pytest.mark.parametrize("bits", [None, 8, 4])
@pytest.mark.parametrize("count", [1, 4, MOST_ROWS + 2, APART_ROWS + 3])
def test_two_threads_compute_what_one_does(
    bits: int | None, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether they share the outputs of all rows or each has rows of its own."""
    most = APART_ROWS + 3
    monkeypatch.setattr("engine.models.fused_llama.most_rows", lambda bits: most)
    decoder, line = lean(random_llama(), bits), (list(PREFIX) * (1 + most // len(PREFIX)))[:count]
    decoder.watch = True
    found = []
    for threads in (1, 2, 3):
        monkeypatch.setattr("engine.models.fused_llama._threads", lambda threads=threads: threads)
        with torch.inference_mode():
            decoder.cache.zero_()
        read(decoder, PREFIX[:MOST_ROWS], 0)
        found.append((read(decoder, line, MOST_ROWS), decoder.features.clone(), decoder.cache.clone()))
    for others in found[1:]:
        assert all(torch.equal(one, other) for one, other in zip(found[0], others, strict=True))


@needed
@pytest.mark.parametrize("bits", [None, 8, 4])
def test_a_cut_head_scores_what_it_keeps_and_the_prompt(bits: int | None) -> None:
    """Bit by bit as the whole head does, and about so where PyTorch computes it; nothing else can be said."""
    model, kept = random_llama(), torch.tensor([0, 3, *range(11, 47, 2)])
    whole, cut = (
        lean(model, bits),
        Llama(model.config, model.state_dict(), torch.bfloat16, bits=bits, kept=kept),
    )
    for prompt in ([3, 60, 8, 2], [5, 13]):
        cut.clear(prompt)
        expected, got = read(whole, prompt, 0).float(), read(cut, prompt, 0).float()
        assert cut.cut is not None
        tokens = cut.cut.tokens[: cut.cut.used]
        assert set(tokens.tolist()) == {*kept.tolist(), *prompt}
        assert torch.equal(got[:, : len(tokens)], expected[:, tokens])
        assert bool((got[:, len(tokens) :] == float("-inf")).all())
        cut.fused, fused = None, cut.fused
        torch.testing.assert_close(read(cut, prompt, 0).float(), got, atol=0.05, rtol=0.05)
        cut.fused = fused


@needed
def test_blocks_hold_the_codes_of_eight_bits() -> None:
    """Four numbers of each of 32 outputs by turns; and the last block is filled up with zeros."""
    weight = torch.randn(40, 128, generator=torch.Generator().manual_seed(0))
    blocks = block(weight, 8)
    codes = torch.from_numpy(blocks.weights).float().reshape(2, 32, 32, 4).transpose(1, 2).reshape(64, 128)
    held = (codes - 128) * torch.from_numpy(blocks.scales)[:, None]
    torch.testing.assert_close(held[:40], round_weight(weight, 8))
    assert bool((held[40:].abs() < 1e-9).all())


@pytest.mark.parametrize(
    ("model", "dtype"),
    [
        (random_llama(), torch.float32),
        (random_llama(width=16), torch.bfloat16),
        (random_llama(inner=200), torch.bfloat16),
    ],
    ids=["float32", "narrow heads", "odd width"],
)
def test_other_models_are_computed_by_pytorch(model: Any, dtype: torch.dtype) -> None:
    assert lean(model, dtype=dtype).fused is None


@needed
def test_what_a_target_knew_is_alike_however_it_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of paths behind one prompt, a short one read by the compiled forward and a long one by PyTorch's."""
    monkeypatch.setattr("engine.models.fused_llama.most_rows", lambda bits: MOST_ROWS)
    model = CachedModel(lean(random_llama()))
    paths = [PREFIX[:count] for count in (3, MOST_ROWS + 4)]
    host = Host(models={TARGET: Hosted(model)})
    short, long = knowledge(host, TARGET, PREFIX, paths)
    widths = {len(known) / (4 * len(path)) for known, path in zip((short, long), paths, strict=True)}
    assert widths == {(WATCHED_LAYERS + 1) * model.decoder.embed([0]).shape[1]}
    same = torch.frombuffer(bytearray(long), dtype=torch.float32).view(len(paths[1]), -1)[: len(paths[0])]
    mine = torch.frombuffer(bytearray(short), dtype=torch.float32).view(len(paths[0]), -1)
    assert (mine - same).norm() < 0.02 * same.norm()
