"""The carried file of a distilled draft: its layers as 6-bit codes; all else comes from the target at load time.

The draft's embedding is the target's, and its output head is the rows of that embedding for the kept tokens,
so neither is carried. A file only fits the target it was made from, which is checked.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from engine.errors import SpecBranchError
from engine.kernels.rounding import dequantise, pack, quantise, unpack
from engine.tensor_files import load_tensors, save_tensors

FORMAT = "specbranch-distilled"
VERSION = "2"
BITS = 6
EMBEDDING = "model.embed_tokens.weight"
CODES, SCALES = ".codes", ".scales"


@dataclass(frozen=True)
class DistilledWeights:
    """A draft ready to be put into a Llama model of `layers` layers.

    `state` is float32 in transformers' naming, its head being its embedding. It has learnt to score the
    `kept_tokens` (int64 [kept], ascending). `how` tells how it was made.
    """

    layers: int
    state: dict[str, Tensor]
    kept_tokens: Tensor
    how: dict[str, str]


def fingerprint(target_state: Mapping[str, Tensor]) -> str:
    """SHA-256 (hex) of a target's shapes, embedding and norms, the same in float32 and in bfloat16."""
    digest = hashlib.sha256()
    for name in sorted(name for name in target_state if name.startswith("model.")):
        tensor = target_state[name]
        digest.update(f"{name}{list(tensor.shape)}".encode())
        if name == EMBEDDING or tensor.dim() == 1:
            same = tensor.detach().to("cpu", torch.bfloat16).contiguous()
            digest.update(same.view(torch.int16).numpy().tobytes())
    return digest.hexdigest()


def save_distilled(
    path: Path,
    weights: Mapping[str, Tensor],
    kept_tokens: Tensor,
    target_state: Mapping[str, Tensor],
    how: Mapping[str, str],
) -> None:
    """Write a draft's own weights (`model.layers.*`, `model.norm.weight`) to `path`.

    Matrices [out, in] become packed 6-bit codes with one scale for each row (`engine.kernels.rounding`), vectors stay
    float32; the width of a matrix must be a multiple of 4, so that it follows from the packed one.
    `kept_tokens` are int64 ids [kept], ascending; `how` is free text for whoever opens the file.
    """
    tensors: dict[str, Tensor] = {"kept_tokens": kept_tokens.to(torch.int32)}
    for name, weight in weights.items():
        if weight.dim() == 2:
            # By row, as `engine.kernels.linear` rounds an int8 layer: its finer steps then cover the same range.
            codes, scales = quantise(weight, BITS)
            tensors[name + CODES], tensors[name + SCALES] = pack(codes, BITS), scales
        else:
            tensors[name] = weight.detach().float()
    header = {
        "format": FORMAT,
        "version": VERSION,
        "bits": str(BITS),
        "group": "row",
        "target": fingerprint(target_state),
        "how": json.dumps(dict(how), sort_keys=True),
    }
    save_tensors(path, tensors, header)
    path.chmod(0o644)  # safetensors makes files that only their owner can read; this one is shipped


def load_distilled(path: Path, target_state: Mapping[str, Tensor]) -> DistilledWeights:
    """Read a draft and complete it from its target's `state_dict()`.

    SpecBranchError if the file is missing, is of another format or was made from another target.
    """
    tensors, header = _checked(path, target_state)
    kept = tensors.pop("kept_tokens").long()
    state: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name.endswith(CODES):
            stem = name.removesuffix(CODES)
            codes = unpack(tensor, BITS, tensor.shape[1] * 8 // BITS)
            state[stem] = dequantise(codes, tensors[stem + SCALES])
        elif not name.endswith(SCALES):
            state[name] = tensor
    state[EMBEDDING] = state["lm_head.weight"] = target_state[EMBEDDING].detach().float()
    layers = len({name.split(".")[2] for name in state if name.startswith("model.layers.")})
    return DistilledWeights(layers, state, kept, json.loads(header.get("how", "{}")))


def load_kept(path: Path, target_state: Mapping[str, Tensor]) -> Tensor:
    """The tokens that a draft's head keeps (see `DistilledWeights`), for the other drafts of its target.

    SpecBranchError as `load_distilled`.
    """
    return _checked(path, target_state)[0]["kept_tokens"].long()


def _checked(path: Path, target_state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and header of a file that is a draft of this target."""
    tensors, header = load_tensors(path, "the distilled draft")
    if header.get("format") != FORMAT:
        raise SpecBranchError(f"{path} is not a distilled draft; make one with `specbranch distill`")
    if (header.get("version"), header.get("bits"), header.get("group")) != (VERSION, str(BITS), "row"):
        raise SpecBranchError(
            f"{path} was written by another version; make it again with `specbranch distill`"
        )
    if EMBEDDING not in target_state or header.get("target") != fingerprint(target_state):
        raise SpecBranchError(
            f"the distilled draft {path} was made from another target: "
            "give it that target, or make a draft of this one with `specbranch distill`"
        )
    return tensors, header


def choose_kept(counts: Tensor, always: Sequence[int], size: int) -> Tensor:
    """Ids (int64 [size], ascending) of the most frequent tokens by `counts` [vocabulary], and `always`.

    Ties go to the lower id: a byte-pair vocabulary was itself learnt in order of frequency.
    """
    ranked = counts.double() - torch.arange(len(counts)) / (len(counts) + 1)
    ranked[list(always)] = float("inf")
    return ranked.topk(min(size, len(counts))).indices.sort().values
