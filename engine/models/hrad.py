"""H-RAD, the hybrid rollback-aware draft structure of SpecBranch (arXiv 2506.01979): how will the draft fare?

From what the target knows where it writes a token y, its last layers' outputs and the embedding of y, a small
network predicts how many of the draft's own tokens behind y the target is going to accept.

The paper's network tells three classes for one draft length: none accepted, all, or neither. This one gives
the chances of each *run length*, 0 to R - 1 tokens or R and more, and every draft length's classes follow by sums
(`engine.policies.prediction.classify`). So one network and one set of recorded chances serve every draft length
that is tuned over, and each position teaches with all it shows: a text that ends within a run still says that the run
was at least so long.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from engine.errors import SpecBranchError
from engine.models.cached_model import CachedModel
from engine.models.decoder import Decoder
from engine.models.specs import ModelSpec
from engine.tensor_files import load_tensors, save_tensors

LONGEST = 16  # R: longer runs are not told apart
FORMAT = "specbranch-hrad"
VERSION = "1"
FINGERPRINT_TOKENS = 32  # the first ones, which every vocabulary has


def watched(model: Decoder | CachedModel, rows: Sequence[int], tokens: Sequence[int]) -> Tensor:
    """What the network sees [n, F], after a forward while the model's `watch` was set.

    `rows` number the `last` rows of that forward; `tokens` are what the target writes behind them.
    """
    return torch.cat([model.features[list(rows)], model.embed(tokens)], dim=-1)


@dataclass(frozen=True)
class Predictor:
    """Input, standardised by `mean` and `scale` [F]; `inner` [H, F]; SiLU; `outer` [R, H]. All float32.

    Output k is the log-odds that the draft's token k is accepted where all those before it were.
    """

    mean: Tensor
    scale: Tensor
    inner: Tensor
    inner_bias: Tensor
    outer: Tensor
    outer_bias: Tensor

    @property
    def longest(self) -> int:
        """R."""
        return len(self.outer_bias)

    @torch.inference_mode()
    def predict(self, features: Tensor) -> Tensor:
        """The chances [n, R + 1], float32, of runs of 0, 1, ... R - 1, and R or more tokens; see `watched`."""
        standard = (features.float() - self.mean) * self.scale
        hidden = functional.silu(functional.linear(standard, self.inner, self.inner_bias))
        return run_chances(functional.linear(hidden, self.outer, self.outer_bias))

    def to(self, device: str | torch.device) -> "Predictor":
        """The same network on a device."""
        return Predictor(**{name: tensor.to(device) for name, tensor in self.tensors().items()})

    def tensors(self) -> dict[str, Tensor]:
        """The parameters by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def run_chances(log_odds: Tensor) -> Tensor:
    """Chances [n, R + 1] of the run lengths, from the log-odds [n, R] that a run goes on."""
    reached = functional.pad(functional.logsigmoid(log_odds).cumsum(dim=-1), (1, 0))
    stops = functional.pad(functional.logsigmoid(-log_odds), (0, 1))
    return (reached + stops).exp()


def fingerprint(target: Decoder) -> str:
    """SHA-256 (hex) of a target's first embeddings and their width, the same in float32 and in bfloat16.

    A target fine-tuned without its embedding looks alike; predictions made for another costs speed and never text.
    """
    rows = target.embed(range(FINGERPRINT_TOKENS)).detach().to("cpu", torch.bfloat16).contiguous()
    digest = hashlib.sha256(str(list(rows.shape)).encode())
    digest.update(rows.view(torch.int16).numpy().tobytes())
    return digest.hexdigest()


def draft_identity(draft: ModelSpec) -> str:
    """A draft's specification as JSON, with the SHA-256 of the file that it was distilled or rounded to."""
    known = draft.model_dump(mode="json", include={"source", "precision", "bits", "distilled"})
    for name, file in (("distilled", draft.distilled_file), ("codes", draft.codes_file)):
        if file is not None:
            known[name] = hashlib.sha256(file.read_bytes()).hexdigest()
    return json.dumps(known, sort_keys=True)


def save_predictor(
    path: Path, predictor: Predictor, target: str, draft: ModelSpec, how: Mapping[str, object]
) -> None:
    """Write a network for `draft` of the target with the fingerprint `target`; `how` (JSON) tells how it was made."""
    header = {
        "format": FORMAT,
        "version": VERSION,
        "target": target,
        "draft": draft_identity(draft),
        "how": json.dumps(dict(how), sort_keys=True),
    }
    tensors = {name: tensor.detach().to("cpu", torch.float32) for name, tensor in predictor.tensors().items()}
    save_tensors(path, tensors, {**header, "seal": _seal(tensors, header)})
    path.chmod(0o644)


def load_predictor(path: Path, target: Decoder, draft: ModelSpec) -> Predictor:
    """Read the network for `draft`, on the target's device.

    SpecBranchError if there is none, or if it is damaged or was made for other models.
    """
    again = "make it with 'specbranch train-hrad'"
    tensors, header = load_tensors(path, "the H-RAD network", again)
    if (header.get("format"), header.get("version")) != (FORMAT, VERSION):
        raise SpecBranchError(f"{path} is no H-RAD network of this version: {again}.")
    if header.pop("seal", "") != _seal(tensors, header):
        raise SpecBranchError(f"the H-RAD network {path} is damaged: {again}.")
    if header["target"] != fingerprint(target):
        raise SpecBranchError(f"the H-RAD network {path} was made for another target: {again}.")
    if header["draft"] != draft_identity(draft):
        raise SpecBranchError(f"the H-RAD network {path} was made for another draft: {again}.")
    return Predictor(**tensors).to(target.embed([0]).device)


def _seal(tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(dict(header), sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(f"{name}{list(tensors[name].shape)}".encode())
        digest.update(tensors[name].contiguous().numpy().tobytes())
    return digest.hexdigest()
