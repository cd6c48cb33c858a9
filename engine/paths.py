"""Where models are kept, and what the paths that a user gives must be, said before any work begins. Torch-free."""

import difflib
import os
from pathlib import Path

from engine.errors import ConfigurationError

HUB_ID_PARTS = 2  # an owner and a name, with one slash between them
MODEL_FILE = "config.json"  # what every model's folder has


def cache_folder() -> Path:
    """Where fetched and converted models are kept."""
    return Path(os.environ.get("SPECBRANCH_CACHE", ".cache")).absolute()


def looks_like_a_path(source: str) -> bool:
    """Whether a model's name can only be meant as a path, since no hub id is written so."""
    separators = (os.sep, "/", "\\")
    return source.startswith((".", "~", *separators)) or (
        "\\" in source or source.endswith("/") or source.count("/") >= HUB_ID_PARTS
    )


def check_model(source: str) -> None:
    """ConfigurationError if a path where there is no model names one; a hub id is left for the hub.

    It names the models that are in the folder that was named or, where there is none, the one beside it whose name is
    the nearest.
    """
    given = Path(source)
    if os.path.isdir(source):
        if not os.path.isfile(os.path.join(source, MODEL_FILE)):
            inside = " or ".join(map(str, _models_in(given)))
            raise ConfigurationError(
                f"the model '{source}' could not be loaded: the folder has no {MODEL_FILE}; "
                + (f"name {inside}, which it holds." if inside else f"{_NAME_ONE}.")
            )
        return
    if os.path.exists(source):
        raise ConfigurationError(f"{source} is a file; a model is a folder, or an id of the hub.")
    if looks_like_a_path(source):
        beside = {model.name: model for model in _models_in(given.parent)}
        nearest = difflib.get_close_matches(given.name, beside, n=1)
        hint = f"did you mean {beside[nearest[0]]}?" if nearest else f"{_NAME_ONE}."
        raise ConfigurationError(f"there is no folder {source}; {hint}")


_NAME_ONE = f"name a folder that a model was saved to, with its {MODEL_FILE}, or an id of the hub"


def _models_in(folder: Path) -> list[Path]:
    """The folders of models right in a folder; none where it cannot be read."""
    try:
        return [place for place in sorted(folder.iterdir()) if os.path.isfile(place / MODEL_FILE)]
    except (OSError, ValueError):
        return []


def check_input_folder(path: Path, what: str) -> None:
    """ConfigurationError unless the folder `path`, which holds `what`, is there."""
    if not path.is_dir():
        why = "is a file" if path.exists() else "is not there"
        raise ConfigurationError(f"the folder {path} {why}; it is to hold {what}.")


def check_output_file(path: Path) -> None:
    """ConfigurationError if no file can be written at `path`; its folder is made where that is missing."""
    if path.is_dir():
        raise ConfigurationError(f"{path} is a folder; name a file in it to write.")
    _check_place(path.parent, path)


def check_output_folder(path: Path) -> None:
    """ConfigurationError if no file can be written in the folder `path`, which may have to be made."""
    _check_place(path, path)


def _check_place(folder: Path, wanted: Path) -> None:
    """Whether `folder` is there and may be written to, or could be made, for what is `wanted` in it."""
    nearest = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not nearest.is_dir():
        raise ConfigurationError(f"{wanted} cannot be written, since {nearest} is a file.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ConfigurationError(f"{wanted} cannot be written, since {nearest} is not to be written to.")
