"""The carried file of a distilled draft: it comes back within rounding, and only for its own target."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM

from engine.drafts.distilled import (
    choose_kept,
    fingerprint,
    load_distilled,
    load_kept,
    save_distilled,
)
from engine.errors import SpecBranchError
from engine.kernels.rounding import dequantise, pack, quantise, unpack
from engine.tensor_files import save_tensors

KEPT = torch.tensor([0, 2, 5, 7, 40])


def tiny(seed: int, layers: int = 3) -> Any:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=48,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    model: Any = LlamaForCausalLM(config)
    return model.eval()


def own_weights(model: Any) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = model.state_dict()
    return {name: t for name, t in state.items() if "embed" not in name and "lm_head" not in name}


def test_round_trip_is_within_rounding_and_happens_once(tmp_path: Path) -> None:
    target, draft = tiny(0), tiny(1, layers=2)
    save_distilled(tmp_path / "a", own_weights(draft), KEPT, target.state_dict(), {"made by": "a test"})
    loaded = load_distilled(tmp_path / "a", target.state_dict())
    assert loaded.layers == 2
    assert loaded.how == {"made by": "a test"}
    assert loaded.kept_tokens.dtype == torch.int64
    assert loaded.kept_tokens.equal(KEPT)
    embedding = target.state_dict()["model.embed_tokens.weight"]
    assert loaded.state["model.embed_tokens.weight"].equal(embedding)
    assert load_kept(tmp_path / "a", target.state_dict()).equal(KEPT)
    for name, weight in own_weights(draft).items():
        step = weight.abs().amax(dim=-1, keepdim=True) / 31 if weight.dim() == 2 else torch.zeros(1)
        assert ((loaded.state[name] - weight).abs() <= step / 2 + 1e-7).all(), name
    again = {name: loaded.state[name] for name in own_weights(draft)}
    save_distilled(tmp_path / "b", again, KEPT, target.state_dict(), {})
    for name, weight in load_distilled(tmp_path / "b", target.state_dict()).state.items():
        torch.testing.assert_close(weight, loaded.state[name], rtol=1e-6, atol=0)


@given(st.integers(2, 8), st.integers(1, 7), st.integers(1, 70), st.integers(0, 2**32))
def test_packed_codes_come_back(bits: int, rows: int, columns: int, seed: int) -> None:
    top = 2 ** (bits - 1) - 1
    draw = torch.Generator().manual_seed(seed)
    codes = torch.randint(-top, top + 1, (rows, columns), generator=draw, dtype=torch.int32)
    packed = pack(codes, bits)
    assert packed.dtype == torch.uint8
    assert packed.shape == (rows, -(-columns * bits // 8))
    assert unpack(packed, bits, columns).equal(codes)


def test_int8_of_a_6_bit_weight_is_within_an_eighth_of_its_step() -> None:
    weight = torch.randn(40, 96, generator=torch.Generator().manual_seed(0))
    codes, scales = quantise(weight, 6)
    rounded = dequantise(codes, scales)
    again = dequantise(*quantise(rounded, 8))
    assert ((again - rounded).abs() <= scales * (31 / 127 / 2 + 1e-5)).all()


def test_it_runs_in_a_llama_model(tmp_path: Path) -> None:
    target = tiny(0)
    save_distilled(tmp_path / "a", own_weights(target), torch.arange(48), target.state_dict(), {})
    loaded = load_distilled(tmp_path / "a", target.state_dict())
    draft = tiny(3)
    draft.load_state_dict(loaded.state)
    ids = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6]])
    torch.testing.assert_close(draft(ids).logits, target(ids).logits, atol=0.05, rtol=0.1)


def test_a_bfloat16_target_is_the_same_target() -> None:
    target = tiny(0)
    rounded = {name: tensor.to(torch.bfloat16) for name, tensor in target.state_dict().items()}
    assert fingerprint(rounded) == fingerprint(target.state_dict())
    assert fingerprint(tiny(1).state_dict()) != fingerprint(target.state_dict())


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    target, path = tiny(0), tmp_path / "draft.safetensors"
    with pytest.raises(SpecBranchError, match="cannot be read"):
        load_distilled(path, target.state_dict())
    save_distilled(path, own_weights(target), KEPT, target.state_dict(), {})
    for other in (tiny(1), tiny(0, layers=2)):
        with pytest.raises(SpecBranchError, match="made from another target"):
            load_distilled(path, other.state_dict())
    path.write_bytes(b"not a safetensors file")
    with pytest.raises(SpecBranchError, match="cannot be read"):
        load_distilled(path, target.state_dict())
    save_tensors(path, {"x": torch.zeros(1)}, {})
    with pytest.raises(SpecBranchError, match="not a distilled draft"):
        load_distilled(path, target.state_dict())
    save_tensors(path, {"x": torch.zeros(1)}, {"format": "specbranch-distilled", "version": "1"})
    with pytest.raises(SpecBranchError, match="another version"):
        load_distilled(path, target.state_dict())


def test_kept_tokens_are_the_frequent_ones_and_the_demanded() -> None:
    counts = torch.tensor([0, 9, 0, 3, 3, 0, 7, 0])
    assert choose_kept(counts, [7], 4).tolist() == [1, 3, 6, 7]
    assert choose_kept(counts, [7], 6).tolist() == [0, 1, 3, 4, 6, 7]
    assert choose_kept(counts, [], 100).tolist() == list(range(8))
