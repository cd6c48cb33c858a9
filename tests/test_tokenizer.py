"""Models that speak of other tokens are refused by name."""

from pathlib import Path

import pytest
from tiny_models import save_tiny

from engine.errors import ConfigurationError, SpecBranchError
from engine.models.specs import ModelSpec
from engine.models.tokenizer import Tokenizer
from engine.runtime.pair import open_pair


def test_text_and_back(tmp_path: Path) -> None:
    tokenizer = Tokenizer(ModelSpec(source=save_tiny(tmp_path, seed=0)))
    assert tokenizer.encode("w5 w7 w9") == [5, 7, 9]
    assert tokenizer.decode([5, 7, 2]) == "w5 w7"
    assert tokenizer.end_tokens == {2}
    with pytest.raises(ConfigurationError, match="empty"):
        tokenizer.encode("")


def test_another_vocabulary_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    target = ModelSpec(source=save_tiny(tmp_path / "target", seed=0))
    other = ModelSpec(source=save_tiny(tmp_path / "other", seed=1, first_word="zero"))
    with (
        pytest.raises(
            ConfigurationError, match=r"draft 'stranger' has another vocabulary .*'w0' differs first"
        ),
        open_pair(target, {"stranger": other}),
    ):
        pass
    with open_pair(target, {"twin": target.model_copy(update={"bits": 8})}) as (pair, _):
        assert set(pair.drafts) == {"twin"}


def test_a_folder_without_a_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(SpecBranchError, match="could not be loaded"):
        Tokenizer(ModelSpec(source=str(tmp_path)))
