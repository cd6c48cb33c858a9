"""A file of tensors comes back as it was, or the error says what it was to be."""

from pathlib import Path

import pytest
import torch

from engine.errors import SpecBranchError
from engine.tensor_files import load_tensors, save_tensors


def test_tensors_and_header_come_back(tmp_path: Path) -> None:
    path, tensors = tmp_path / "deep" / "a.safetensors", {"x": torch.arange(6).view(2, 3).t()}
    save_tensors(path, tensors, {"made by": "a test"})
    found, header = load_tensors(path, "the draft")
    assert header == {"made by": "a test"}
    assert found["x"].equal(tensors["x"])
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("content", [None, b"", b"no tensors"])
def test_what_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SpecBranchError, match=rf"the codes {path} cannot be read: .+; make them again$"):
        load_tensors(path, "the codes", "make them again")
    with pytest.raises(SpecBranchError, match=r"^the codes .+ cannot be read"):
        load_tensors(path, "the codes")
