"""The default target is fetched and converted once, whoever else does so at the same time."""

from pathlib import Path

import pytest

from engine.drafts import default_pair


def test_two_that_convert_at_once_share_the_first_one_s_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def convert(gguf: Path, folder: Path) -> None:
        for made, by in ((folder, "second"), (tmp_path / "smollm2-135m-instruct", "first")):
            made.mkdir()
            (made / "model.safetensors").write_text(by)

    monkeypatch.setenv("SPECBRANCH_CACHE", str(tmp_path))
    monkeypatch.setattr(default_pair, "_fetch", lambda scratch: scratch / "model.gguf")
    monkeypatch.setattr(default_pair, "_convert", convert)
    folder = default_pair.default_target()
    assert (folder / "model.safetensors").read_text() == "first"
    assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_that_cannot_be_put_in_place_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SPECBRANCH_CACHE", str(tmp_path))
    monkeypatch.setattr(default_pair, "_fetch", lambda scratch: scratch / "model.gguf")
    monkeypatch.setattr(default_pair, "_convert", lambda gguf, folder: None)
    with pytest.raises(OSError, match="model"):
        default_pair.default_target()
