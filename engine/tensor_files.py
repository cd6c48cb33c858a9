"""Files of tensors (safetensors) that are always whole, and an error to act on where one cannot be read."""

import os
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from engine.errors import SpecBranchError


def save_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> None:
    """Written beside and renamed, so that a file with the final name is always whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, beside, metadata=dict(header))
    beside.replace(path)


def load_tensors(path: Path, what: str, advice: str = "") -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the header of a file; SpecBranchError, which says `what` it is, if it cannot be read."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, file.metadata() or {}
    except (OSError, SafetensorError) as error:
        hint = f"; {advice}" if advice else ""
        raise SpecBranchError(f"{what} {path} cannot be read: {error}{hint}") from error
