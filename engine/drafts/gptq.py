"""Rounding to 4 bits by what a model reads, and the file of codes that this makes.

Rounding to nearest takes all inputs for alike. GPTQ (arXiv 2210.17323) rounds a weight's columns one after the other,
and the columns behind each make up for its error as far as inputs of the kind that the model really reads allow.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from engine.drafts.distilled import CODES, SCALES, fingerprint
from engine.errors import SpecBranchError
from engine.kernels.linear import INT4_GROUP
from engine.kernels.rounding import Rounded, pack, unpack
from engine.progress import Progress
from engine.tensor_files import load_tensors, save_tensors

BITS = 4
OFFSETS = ".offsets"
FORMAT, VERSION = "specbranch-codes", "1"
# Shares of a group's span that are tried, since the best steps are often finer ones that leave out its extremes.
CLIPS = (1.0, 0.96, 0.92, 0.88, 0.84, 0.8, 0.75)
DAMPING = 0.01  # of the mean second moment, added to each one, as in GPTQ's own code
PROMPTS, ANSWER_TOKENS = 64, 96  # composed prompts, and the most tokens that the target answers with


@torch.inference_mode()
def second_moments(model: Any, texts: Sequence[Sequence[int]], progress: Progress) -> dict[str, Tensor]:
    """Sums of x x^T over all inputs x of each linear layer, float32 [in, in] by the weight's name.

    `model` is one of transformers', which reads all `texts` (token ids); `progress` hears how many of how many.
    """
    sums: dict[str, Tensor] = {}

    def watch(name: str) -> Callable[[Any, tuple[Tensor, ...]], None]:
        def add(_: Any, given: tuple[Tensor, ...]) -> None:
            x = given[0].reshape(-1, given[0].shape[-1]).float()
            sums[name] = x.T @ x + sums.get(name, 0)

        return add

    layers = [(name, module) for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    hooks = [module.register_forward_pre_hook(watch(f"{name}.weight")) for name, module in layers]
    for done, text in enumerate(texts):
        model(torch.tensor([list(text)]))
        progress(done + 1, len(texts))
    for hook in hooks:
        hook.remove()
    return sums


@torch.no_grad()
def round_by_moments(weight: Tensor, moments: Tensor) -> Rounded:
    """`weight` [out, in] as codes of 4 bits in groups of INT4_GROUP, for inputs of these second moments [in, in].

    GPTQ's order and updates; a group's steps are the ones of `CLIPS` whose own error weighs least.
    """
    left, columns = weight.detach().float().clone(), weight.shape[1]
    damped = moments + DAMPING * moments.diagonal().mean() * torch.eye(columns)
    # Row i: how the columns from i on make up for an error of column i.
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    factor = torch.linalg.cholesky(inverse, upper=True)
    codes, scales, offsets = [], [], []
    for begin in range(0, columns, INT4_GROUP):
        end = begin + INT4_GROUP
        group, here = left[:, begin:end].clone(), factor[begin:end, begin:end]
        scale, offset = _steps(group, here.diagonal().pow(-2))
        errors = torch.empty_like(group)
        for i in range(INT4_GROUP):
            code = ((group[:, i] - offset) / scale).round().clamp(-8, 7)
            errors[:, i] = (group[:, i] - code * scale - offset) / here[i, i]
            group[:, i:] -= errors[:, i, None] * here[i, i:]
            codes.append(code)
        left[:, end:] -= errors @ factor[begin:end, end:]
        scales.append(scale)
        offsets.append(offset)
    whole = torch.stack(codes, dim=1).to(torch.int32)
    return Rounded(whole, torch.stack(scales, dim=1), torch.stack(offsets, dim=1))


def _steps(group: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Scales and offsets [out], exact in bfloat16, of a group [out, INT4_GROUP] whose columns weigh `weights`."""
    low, high = group.amin(dim=1), group.amax(dim=1)
    best = torch.full_like(low, float("inf"))
    scales, offsets = torch.empty_like(low), torch.empty_like(low)
    for clip in CLIPS:
        scale = (clip * (high - low) / 15).clamp_min(1e-12).bfloat16().float()
        offset = ((high + low + scale) / 2).bfloat16().float()
        code = ((group - offset[:, None]) / scale[:, None]).round().clamp(-8, 7)
        error = ((code * scale[:, None] + offset[:, None] - group).square() * weights).sum(dim=1)
        better = error < best
        best = torch.where(better, error, best)
        scales, offsets = torch.where(better, scale, scales), torch.where(better, offset, offsets)
    return scales, offsets


def make_codes(folder: Path, out: Path, progress: Progress) -> None:
    """Write the codes of all linear weights of the Llama model in `folder` to `out`, by texts that it writes itself.

    It answers composed prompts, as for a distilled draft (`engine.drafts.self_written`), which no calibration or
    benchmark asks. Some half a minute for the default target on two cores. SpecBranchError as
    `engine.drafts.distill.distill`.
    """
    from engine.drafts.distill import chat_encoder, end_tokens, load_target
    from engine.drafts.self_written import TextPlan, written_text

    model = load_target(folder)
    encode, _ = chat_encoder(folder)
    plan = TextPlan(prompts=PROMPTS, answer_tokens=ANSWER_TOKENS, rows=PROMPTS)
    with TemporaryDirectory() as scratch:
        shards = written_text(model, encode, end_tokens(model), Path(scratch), plan, lambda done, count: None)
    texts = [row.tokens.tolist() for shard in shards for row in shard.rows()]
    moments = second_moments(model, texts, lambda done, count: progress(done, 2 * count))
    state, rounded = model.state_dict(), {}
    for done, (name, sums) in enumerate(moments.items()):
        rounded[name] = round_by_moments(state[name], sums)
        progress(len(moments) + done + 1, 2 * len(moments))
    save_codes(out, rounded, state)


def save_codes(path: Path, weights: Mapping[str, Rounded], target_state: Mapping[str, Tensor]) -> None:
    """Write rounded weights by name, for `load_codes` with the same target."""
    tensors: dict[str, Tensor] = {}
    for name, weight in weights.items():
        tensors[name + CODES] = pack(weight.codes, BITS)
        tensors[name + SCALES] = weight.scales.bfloat16()
        tensors[name + OFFSETS] = weight.offsets.bfloat16()
    header = {"format": FORMAT, "version": VERSION, "bits": str(BITS), "target": fingerprint(target_state)}
    save_tensors(path, tensors, header)


def load_codes(path: Path, target_state: Mapping[str, Tensor]) -> dict[str, Rounded]:
    """The rounded weights by name. SpecBranchError if the file cannot be read or is not of this target."""
    tensors, header = load_tensors(path, "the codes")
    if (header.get("format"), header.get("version")) != (FORMAT, VERSION):
        raise SpecBranchError(f"{path} holds no codes of this version; deleted, they are made again.")
    if header.get("target") != fingerprint(target_state):
        raise SpecBranchError(f"the codes {path} are of another target; deleted, they are made again.")
    found = {}
    for name in (key.removesuffix(CODES) for key in tensors if key.endswith(CODES)):
        codes = unpack(tensors[name + CODES], BITS, target_state[name].shape[1])
        found[name] = Rounded(codes, tensors[name + SCALES].float(), tensors[name + OFFSETS].float())
    return found
