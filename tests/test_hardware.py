"""Fingerprints say what computes; a model's digest is that of its weights."""

from pathlib import Path

import pytest
from tiny_models import save_tiny

from calibrate.hardware import hardware, model_digest, same_hardware, software
from engine.errors import SpecBranchError
from engine.models.specs import ModelSpec


def test_this_machine_is_itself_and_no_other() -> None:
    here = hardware()
    assert same_hardware(here, dict(here))
    assert not same_hardware(here, here | {"cores": "999"})
    assert same_hardware(here, here | {"memory": "another"})  # more memory computes alike
    assert {"torch", "transformers", "python"} <= set(software())


def test_a_digest_follows_the_weights(tmp_path: Path) -> None:
    one, same, other = (
        ModelSpec(source=save_tiny(tmp_path / name, seed)) for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert model_digest(one) == model_digest(same) != model_digest(other)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(SpecBranchError, match="no weights"):
        model_digest(ModelSpec(source=str(tmp_path)))
