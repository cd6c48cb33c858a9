"""Whether a decoder computes what transformers computes of the same weights, asked before a model is first used.

Each way of reading that a policy uses is held against whole forwards without a cache: a line, leaves beside it, what
follows one of these, and branches. It takes some thirty tokens, so what a layer does beyond its window is not seen
here; `tests/test_architectures.py` sees it.
"""

import hashlib
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor

from engine.errors import SpecBranchError
from engine.models.cached_model import CachedModel
from engine.models.specs import ModelSpec
from engine.paths import cache_folder
from engine.policies.tree import side_by_side

# Of the spread of a row's logits, the most by which the middle row may be off. Sums in another order are off by some
# 1e-5 in float32 and 0.05 in bfloat16 (SmolLM2-135M); a mask or a rope that is wrong, by its whole size.
TOLERANCE = {torch.float32: 1e-3, torch.float16: 0.05, torch.bfloat16: 0.2}
PROMPT, LINE, BRANCHES = 16, 6, 3
WORTH_REMEMBERING = 0.5  # seconds; what is quicker is asked again each time

Whole = Callable[[Sequence[int]], Tensor]
"""Logits [tokens, vocabulary] behind each of so many tokens, by one whole forward."""


def check_once(model: CachedModel, reference: Any, spec: ModelSpec, tokens: int, device: str) -> None:
    """`check_against` a transformers model of the same weights, unless these have passed with this software before."""
    known = cache_folder() / "checked" / _identity(spec, tokens, device)
    if known.exists():
        return

    @torch.inference_mode()
    def whole(context: Sequence[int]) -> Tensor:
        logits: Tensor = reference(torch.tensor([list(context)], device=reference.device)).logits[
            0, :, :tokens
        ]
        return logits.to(model.decoder.features.device)

    began = time.perf_counter()
    check_against(model, whole, tokens, getattr(torch, spec.precision), spec.source)
    if time.perf_counter() - began > WORTH_REMEMBERING:
        known.parent.mkdir(parents=True, exist_ok=True)
        known.write_text(f"{spec.describe()}\n", encoding="utf-8")


def _identity(spec: ModelSpec, tokens: int, device: str) -> str:
    """Of the weights, by their files' sizes and times, and of what computes with them."""
    from transformers import __version__

    folder, engine = Path(spec.location), Path(__file__).parents[1]
    files = [
        *sorted(folder.glob("*.safetensors")),
        *sorted(folder.glob("*.json")),
        *sorted(engine.rglob("*.py")),
    ]
    facts = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    written = repr((spec.model_dump_json(), tokens, device, torch.__version__, __version__, facts))
    return hashlib.sha256(written.encode()).hexdigest()


def check_against(model: CachedModel, whole: Whole, tokens: int, dtype: torch.dtype, source: str) -> None:
    """Compare a model whose ids are 0 to `tokens` - 1 with `whole`, which is of transformers, and leave it empty.

    SpecBranchError if they differ in any way of reading that the model says it can do.
    """
    for how, ours, contexts in _readings(model, tokens):
        off = [_distance(*rows) for rows in zip(ours, _behind_each(contexts, whole), strict=True)]
        if not statistics.median(off) <= TOLERANCE[dtype]:
            from transformers import __version__

            raise SpecBranchError(
                f"this engine does not compute of '{source}' what transformers {__version__} does: reading {how}, its "
                f"logits are off by {statistics.median(off):.2g} of their spread, and {TOLERANCE[dtype]:g} is allowed. "
                "No text of it could be trusted: choose another model, and please report this one."
            )
    model.clear()


def _behind_each(contexts: Sequence[Sequence[int]], whole: Whole) -> Iterator[Tensor]:
    """Logits [vocabulary] behind each context; those that begin a longer one are read off its forward."""
    forwards: dict[tuple[int, ...], Tensor] = {}
    for context in sorted(map(tuple, contexts), key=len, reverse=True):
        if not any(longer[: len(context)] == context for longer in forwards):
            forwards[context] = whole(context)
    for context in map(tuple, contexts):
        yield next(
            found[len(context) - 1] for longer, found in forwards.items() if longer[: len(context)] == context
        )


def _readings(model: CachedModel, tokens: int) -> Iterator[tuple[str, Tensor, list[list[int]]]]:
    """Ways of reading: what each is, logits [rows, vocabulary], and the context of each row."""
    random = Random(0)

    def some(count: int) -> list[int]:
        return [random.randrange(tokens) for _ in range(count)]

    prompt, line = some(PROMPT), some(LINE)
    model.clear(prompt)
    if not model.decoder.capabilities.rolls_back:
        logits = [model.read(prompt, last=1), *(model.read([token]) for token in line)]
        yield "token by token", torch.cat(logits), [[*prompt, *line[:end]] for end in range(LINE + 1)]
        return
    leaves = [(place, token) for place, token in enumerate(some(LINE)) if token != line[place]]
    tree = side_by_side([(tuple(line), (1.0,) * LINE)], [[(place, token, 0.0) for place, token in leaves]])
    logits_ = model.read(model.rewind(prompt), last=1, tree=tree)
    yield "a line", logits_[: LINE + 1], [[*prompt, *line[:end]] for end in range(LINE + 1)]
    yield (
        "leaves beside a line",
        logits_[LINE + 1 :],
        [[*prompt, *line[:place], token] for place, token in leaves],
    )
    place, leaf = leaves[LINE // 2]
    text = [*prompt, *line[:place], leaf, *some(LINE)]
    logits_ = model.read(model.rewind(text), last=LINE)
    yield "on behind a leaf", logits_, [text[: len(text) - LINE + end + 1] for end in range(LINE)]
    written: list[list[int]] = [[] for _ in range(BRANCHES)]
    found, contexts = [], []
    for last in ([-1] * BRANCHES, range(BRANCHES)):
        new = some(BRANCHES)
        found.append(model.read_nodes(new, last))
        for branch, token in zip(written, new, strict=True):
            branch.append(token)
            contexts.append([*text, *branch])
    yield "branches", torch.cat(found), contexts


def _distance(ours: Tensor, theirs: Tensor) -> float:
    """The root mean square difference of two rows of logits, as a share of the spread of the second."""
    theirs = theirs.float()
    return float((ours.float() - theirs).square().mean().sqrt() / theirs.std().clamp_min(1e-6))
