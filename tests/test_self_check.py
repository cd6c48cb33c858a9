"""A model that this engine computes otherwise than transformers is not run; neither are tokens that there are not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_families import save_family
from tiny_models import PROMPTS, TOKENS, VOCABULARY, own_text, save_tokenizer, tiny_llama

from engine.configuration import Configuration
from engine.errors import SpecBranchError
from engine.models import self_check
from engine.models.llama import Llama
from engine.models.rows import Visibility
from engine.models.specs import ModelSpec
from engine.models.tokenizer import Tokenizer
from engine.runtime.loading import load_model
from engine.runtime.pair import open_pair

PADDED = 64  # rows of a head whose tokenizer has 48 tokens


def blind(visibility: Visibility, places: int) -> NDArray[np.bool_]:
    """A mask that hides nothing."""
    return np.ones((len(visibility.own), places), np.bool_)


def turned(rotation: Any) -> Any:
    """Rope tables of positions that are one too far from each other."""
    return lambda llama, positions: tuple(table[::2] for table in rotation(llama, 2 * positions))


@pytest.mark.parametrize(
    ("family", "general_path", "broken"),
    [
        ("Llama", False, (Llama, "_rotation", turned(Llama._rotation))),
        ("Llama", False, (Visibility, "visible", blind)),
        ("Llama", True, (Visibility, "visible", blind)),
        ("Gemma 3", True, (Visibility, "visible", blind)),
        ("BLOOM", True, (Visibility, "before", lambda visibility, row, slot: list(range(slot)))),
    ],
)
def test_what_is_computed_otherwise_is_not_run(
    family: str,
    general_path: bool,
    broken: tuple[Any, str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = save_family(tmp_path, family, 0)
    spec = ModelSpec(source=source, precision="float32", general_path=general_path)
    load_model(spec)
    monkeypatch.setattr(*broken)
    with pytest.raises(SpecBranchError, match=r"does not compute of .* what transformers"):
        load_model(spec)


def test_a_check_that_took_long_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the weights or the software change."""
    monkeypatch.setenv("SPECBRANCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(self_check, "WORTH_REMEMBERING", 0.0)
    spec = ModelSpec(source=save_family(tmp_path / "model", "Llama", 0), precision="float32")
    load_model(spec)

    def again(*_: Any) -> None:
        raise AssertionError("checked again")

    monkeypatch.setattr(self_check, "check_against", again)
    load_model(spec)
    save_family(tmp_path / "model", "Llama", 1)
    with pytest.raises(AssertionError, match="checked again"):
        load_model(spec)


def save_padded(folder: Path, seed: int, rows: int) -> str:
    """A Llama whose head has so many rows, of which those beyond the tokenizer's tokens score highest by far."""
    model = tiny_llama(seed, vocabulary=rows)
    with torch.no_grad():
        model.lm_head.weight[VOCABULARY:] = 5 * model.lm_head.weight[:VOCABULARY].sum(0)
    model.save_pretrained(folder)
    save_tokenizer(folder)
    return str(folder)


@pytest.fixture(scope="module")
def plain_text(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, ...]:
    """What the target writes whose padding is cut off."""
    folder = tmp_path_factory.mktemp("cut")
    model = tiny_llama(0, vocabulary=PADDED)
    model.resize_token_embeddings(VOCABULARY)
    model.save_pretrained(folder)
    return own_text(str(folder), PROMPTS[4])


@pytest.mark.parametrize("rows", [(PADDED, VOCABULARY), (VOCABULARY, PADDED), (PADDED, PADDED)])
@pytest.mark.parametrize("general_path", [False, True])
def test_rows_beyond_the_tokenizer_are_no_tokens(
    rows: tuple[int, int], general_path: bool, tmp_path: Path, plain_text: tuple[int, ...]
) -> None:
    """Neither target nor draft says, draws or reads one, whichever of them is filled up further."""
    sources = [save_padded(tmp_path / f"{i}", i, count) for i, count in enumerate(rows)]
    target, draft = (
        ModelSpec(source=source, precision="float32", general_path=general_path) for source in sources
    )
    from engine.models.sampling import Sampling

    with open_pair(target, {"other": draft}) as (pair, tokenizer):
        assert tokenizer.size == VOCABULARY
        for policy in ("speculative", "specbranch"):
            configuration = Configuration(
                policy=policy, placement="in-turn", draft_length=4, second_under=0.9
            )
            run = pair.generate(configuration, PROMPTS[4], max_tokens=TOKENS)
            if rows[0] == PADDED:
                assert run.tokens == plain_text
            drawn = configuration.model_copy(update={"draw_drafts": True})
            hot = Sampling(temperature=5.0, seed=3)
            run = pair.generate(drawn, PROMPTS[4], max_tokens=TOKENS, sampling=hot)
            assert max(run.tokens) < VOCABULARY


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    tiny_llama(0, vocabulary=VOCABULARY - 8).save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    spec = ModelSpec(source=str(tmp_path), precision="float32")
    with (
        open_pair(spec, {}) as (pair, _),
        pytest.raises(SpecBranchError, match="has 48 tokens, and the model only 40"),
    ):
        pair.generate(Configuration(policy="autoregressive", placement="in-turn"), PROMPTS[0], max_tokens=2)


def test_every_end_token_counts(tmp_path: Path) -> None:
    """Those of the tokenizer (w2), of the model, and of its generation settings."""
    model = tiny_llama(0)
    model.config.eos_token_id = [7, 8]
    model.generation_config.eos_token_id = [9, 10]
    model.save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    assert Tokenizer(ModelSpec(source=str(tmp_path))).end_tokens == {2, 7, 8, 9, 10}
