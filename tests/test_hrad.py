"""H-RAD's network: what it sees on both forward paths, the chances it gives, and its file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import PROMPTS, tiny_llama
from torch.nn import functional

from engine.errors import SpecBranchError
from engine.models.cached_model import CachedModel
from engine.models.decoder import WATCHED_LAYERS, Decoder
from engine.models.hrad import (
    Predictor,
    draft_identity,
    load_predictor,
    run_chances,
    save_predictor,
    watched,
)
from engine.models.hrad import fingerprint as fingerprint_of
from engine.models.llama import Llama
from engine.models.specs import ModelSpec
from engine.models.transformers_model import TransformersModel
from engine.policies.prediction import classify

DRAFT = ModelSpec(source="d", bits=8)
WIDTH, LONGEST = 12, 16


def lean(model: Any) -> Decoder:
    return Llama(model.config, model.state_dict(), torch.float32)


def general(model: Any) -> Decoder:
    return TransformersModel(model)


def network(seed: int = 0, width: int = WIDTH, longest: int = LONGEST) -> Predictor:
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    return Predictor(
        drawn(width), drawn(width).exp(), drawn(8, width), drawn(8), drawn(longest, 8), drawn(longest)
    )


@pytest.mark.parametrize("layers", [2, 6])
@pytest.mark.parametrize("make", [lean, general])
def test_features_are_the_last_layers_outputs(make: Callable[[Any], Decoder], layers: int) -> None:
    model = tiny_llama(3, layers=layers)
    with torch.inference_mode():
        states = model(torch.tensor([PROMPTS[2]]), output_hidden_states=True).hidden_states[1:]
    expected = torch.cat([state[0, -3:] for state in states[-WATCHED_LAYERS:]], dim=-1)
    assert expected.shape == (3, 64 * min(layers, WATCHED_LAYERS))
    decoder = make(model)
    cached = CachedModel(decoder)
    plain = cached.read(PROMPTS[2][:4])
    decoder.watch = True
    cached.read(PROMPTS[2][4:], last=3)
    torch.testing.assert_close(decoder.features, expected, atol=1e-4, rtol=1e-4)
    embedding = model.get_input_embeddings().weight.detach()
    seen = watched(decoder, [2, 0], [5, 9])
    assert seen[:, -64:].equal(embedding[[5, 9]])
    torch.testing.assert_close(seen[:, :-64], expected[[2, 0]], atol=1e-4, rtol=1e-4)
    cached.clear()
    torch.testing.assert_close(cached.read(PROMPTS[2][:4]), plain)


@pytest.mark.parametrize("make", [lean, general])
def test_nothing_is_kept_unless_watched(make: Callable[[Any], Decoder]) -> None:
    decoder = make(tiny_llama(3))
    CachedModel(decoder).read(PROMPTS[0])
    assert decoder.features.numel() == 0


def test_chances_are_a_distribution_over_run_lengths() -> None:
    log_odds = 3 * torch.randn(50, LONGEST, generator=torch.Generator().manual_seed(1))
    chances, on = run_chances(log_odds), log_odds.sigmoid()
    torch.testing.assert_close(chances.sum(dim=-1), torch.ones(50))
    torch.testing.assert_close(chances[:, 0], 1 - on[:, 0])
    torch.testing.assert_close(chances[:, 2], on[:, 0] * on[:, 1] * (1 - on[:, 2]))
    torch.testing.assert_close(chances[:, -1], on.prod(dim=-1))


def test_extreme_log_odds_give_chances() -> None:
    chances = run_chances(torch.tensor([[500.0, -500.0, 500.0]]))
    assert chances.tolist() == [[0.0, 1.0, 0.0, 0.0]]


def test_the_prediction_is_the_network_on_standardised_features() -> None:
    predictor = network()
    features = torch.randn(7, WIDTH, generator=torch.Generator().manual_seed(2))
    hidden = functional.silu(
        (features - predictor.mean) * predictor.scale @ predictor.inner.T + predictor.inner_bias
    )
    expected = run_chances(hidden @ predictor.outer.T + predictor.outer_bias)
    torch.testing.assert_close(predictor.predict(features), expected)
    assert predictor.predict(features.bfloat16()).dtype == torch.float32
    assert predictor.predict(features[:0]).shape == (0, LONGEST + 1)


@pytest.mark.parametrize("length", [1, 3, LONGEST])
def test_classes_follow_from_the_chances(length: int) -> None:
    for row in network().predict(torch.randn(40, WIDTH, generator=torch.Generator().manual_seed(3))).tolist():
        nothing, everything = row[0], sum(row[length:])
        classes = [nothing, 1 - nothing - everything, everything]
        assert classes[classify(row, length)] == pytest.approx(max(classes))
        if length == 1:
            assert classify(row, length) != 1


@pytest.fixture
def target() -> Decoder:
    return lean(tiny_llama(0))


def test_a_network_comes_back_from_its_file(tmp_path: Path, target: Decoder) -> None:
    file = tmp_path / "new" / "d.safetensors"
    save_predictor(file, network(), fingerprint_of(target), DRAFT, {"positions": 7})
    loaded = load_predictor(file, target, DRAFT)
    for name, tensor in network().tensors().items():
        assert loaded.tensors()[name].equal(tensor)
    assert loaded.longest == LONGEST
    # The general path in bfloat16 is the same target.
    load_predictor(file, general(tiny_llama(0).bfloat16()), DRAFT)


def test_other_models_are_refused(tmp_path: Path, target: Decoder) -> None:
    file = tmp_path / "d.safetensors"
    save_predictor(file, network(), fingerprint_of(target), DRAFT, {})
    with pytest.raises(SpecBranchError, match="another target: make it with 'specbranch train-hrad'"):
        load_predictor(file, lean(tiny_llama(1)), DRAFT)
    with pytest.raises(SpecBranchError, match="another draft: make it with 'specbranch train-hrad'"):
        load_predictor(file, target, ModelSpec(source="d", bits=4))


def test_a_distilled_draft_is_known_by_its_file(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    spec = ModelSpec(source="d", bits=8, distilled=str(file))
    before = draft_identity(spec)
    assert before == draft_identity(spec)
    file.write_bytes(b"two")
    assert before != draft_identity(spec)


def test_damage_is_refused(tmp_path: Path, target: Decoder) -> None:
    file = tmp_path / "d.safetensors"
    with pytest.raises(SpecBranchError, match="cannot be read"):
        load_predictor(file, target, DRAFT)
    save_predictor(file, network(), fingerprint_of(target), DRAFT, {"positions": 7})
    whole = file.read_bytes()
    # Anything from a length in front to the last weight: a byte flipped anywhere, or the end missing.
    for place in [*range(0, len(whole), 97), len(whole) - 1]:
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(SpecBranchError, match="specbranch train-hrad"):
            load_predictor(file, target, DRAFT)
    file.write_bytes(whole[:-5])
    with pytest.raises(SpecBranchError, match="cannot be read"):
        load_predictor(file, target, DRAFT)
    file.write_text("{}")
    with pytest.raises(SpecBranchError, match="cannot be read"):
        load_predictor(file, target, DRAFT)
