"""What compiled loops share does what it says, and old machine code is never taken for new sources'."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.kernels import compiled
from engine.kernels.compiled import bits_as_float, exp, ordered

FINITE = st.floats(width=32, allow_nan=False)


@compiled.compiled
def exponentials(x: np.ndarray, y: np.ndarray) -> None:
    for i in range(len(x)):
        y[i] = exp(x[i])


@compiled.compiled
def there_and_back(x: np.ndarray, y: np.ndarray) -> None:
    bits = x.view(np.int32)
    for i in range(len(x)):
        y[i] = bits_as_float(np.uint32(ordered(ordered(bits[i]))))  # type: ignore[call-arg]


def test_exponentials_are_those_of_numpy() -> None:
    x = np.linspace(-87, 88, 100_003, dtype=np.float32)
    found = np.empty_like(x)
    exponentials(x, found)
    np.testing.assert_allclose(found, np.exp(x.astype(np.float64)), rtol=3e-7)


@settings(deadline=None)  # the first call compiles
@given(st.lists(FINITE, min_size=2))
def test_integers_are_ordered_as_the_numbers_are(numbers: list[float]) -> None:
    x = np.array(numbers, np.float32)
    as_integers = [int(ordered(bits)) for bits in x.view(np.int32)]
    pairs = list(zip(x.tolist(), as_integers, strict=True))
    for a, place_a in pairs:
        for b, place_b in pairs:
            if a < b:
                assert place_a < place_b
    again = np.empty_like(x)
    there_and_back(x, again)
    assert again.tobytes() == x.tobytes()


def test_other_sources_have_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of any of them, since what is compiled holds code of all."""
    real = Path(compiled.__file__).parent
    for name in compiled.SOURCES:
        (tmp_path / f"{name}.py").write_bytes((real / f"{name}.py").read_bytes())
    monkeypatch.setattr(compiled, "__file__", str(tmp_path / "compiled.py"))
    folders = {compiled._folder()}
    assert {folder.name for folder in folders} == {compiled.FOLDER.name}
    for name in compiled.SOURCES:
        with (tmp_path / f"{name}.py").open("a") as file:
            file.write("# changed\n")
        folders.add(compiled._folder())
    assert len(folders) == 1 + len(compiled.SOURCES)


def test_a_read_only_package_has_its_code_with_the_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPECBRANCH_CACHE", str(tmp_path))
    monkeypatch.setattr(compiled.config, "CACHE_DIR", "")
    assert compiled._folder().parent == Path(compiled.__file__).parent / "__pycache__"
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert compiled._folder() == tmp_path / compiled.FOLDER.name


def test_whatever_is_compiled_is_named() -> None:
    """Modules that compile, and those whose intrinsics they use."""
    folder = Path(compiled.__file__).parent
    using = {
        p.stem for p in folder.glob("*.py") if "import njit" in p.read_text() or "@compiled" in p.read_text()
    }
    assert using | {"dots"} == set(compiled.SOURCES)
