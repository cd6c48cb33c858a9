"""A configuration in the words of the systems that people serve with, as far as they have the method. Torch-free.

Names as documented: vLLM's `--speculative-config` (its SpeculativeConfig, version 0.26), SGLang's server arguments (its
page on speculative decoding), transformers' GenerationConfig (5).
"""

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engine.configuration import Configuration
from engine.errors import ConfigurationError

DRAFT = "DRAFT_MODEL"  # stands for the draft's name where none was given

# Settings that none of the systems has beside a draft model, and what they do.
AIDS = {
    ("guesses", "repeats"): "use the text's repetitions and n-grams beside a draft",
    ("second_under",): "judge a draft's second choices",
}

# As told in vLLM's issues 21797 and 31883; its pull request 24322 brought them back.
NO_DRAFT_MODELS = "vLLM 0.10 to 0.13 refuse draft models; take an earlier or a later version"


@dataclass(frozen=True)
class Export:
    """What to give to a system: flags of a command line, or a JSON file's text.

    `exact`: the system does what was simulated, but for its own kernels and scheduling. `warnings` say what it
    does otherwise.
    """

    text: str
    exact: bool
    warnings: tuple[str, ...] = ()


def export(
    configuration: Configuration, system: str, draft_model: str | None = None, temperature: float = 0.0
) -> Export:
    """`configuration` for one of `SYSTEMS`; `draft_model` is the draft's name or folder there.

    `temperature`: that it was tuned for, at which draft tokens may be drawn. ConfigurationError if there is no such
    system, or if it has nothing like the method.
    """
    if system not in SYSTEMS:
        raise ConfigurationError(f"there is no export to '{system}': {', '.join(SYSTEMS)}.")
    if not configuration.drafts:
        return Export("", exact=True, warnings=("nothing to set: this decodes without a draft",))
    nearest, warnings = _nearest(configuration)
    for names, what in AIDS.items():
        if any(getattr(nearest, name) for name in names if name in nearest.uses):
            warnings.append(f"it does not {what}, so it is slower than was predicted")
    made = SYSTEMS[system](nearest, draft_model or DRAFT)
    if temperature and "draft" in nearest.uses:
        warnings += _drawn_otherwise(nearest.draws_drafts, DRAWS[system])
    notes = [*warnings, *made.warnings]
    if "draft" in nearest.uses and draft_model is None:
        notes.append(f"put the draft's name in place of {DRAFT} (--draft-model)")
    return Export(made.text, made.exact and not warnings, tuple(notes))


def _drawn_otherwise(drawn: bool, there: bool | None) -> list[str]:
    """What is said where draft tokens were (or were not) `drawn`, and the system draws some (none: as one wishes)."""
    if drawn and there is False:
        return [
            "it takes the draft's likeliest tokens and draws none, so fewer are accepted than was predicted"
        ]
    if drawn:
        return [
            "it draws draft tokens independently of the target's and rejects by p / q, which accepts somewhat more "
            "than the noise shared by both models that was predicted"
        ]
    if there:
        return ["at a temperature it draws draft tokens, which are accepted more often than was predicted"]
    return []


def _nearest(c: Configuration) -> tuple[Configuration, list[str]]:
    """What drafts and verifies in turn stands for what does both at once, which none of the systems has."""
    if c.policy in ("pearl", "specbranch"):
        name = {"pearl": "PEARL", "specbranch": "SpecBranch"}[c.policy]
        return c.model_copy(update={"policy": "speculative"}), [
            f"it has no {name}, which drafts while the target verifies: this is standard speculative decoding with the "
            "same draft length, and what was predicted does not carry over; tune with the policies it has"
        ]
    if c.policy == "adaedl":
        return c.model_copy(update={"policy": "speculative", "min_confidence": 0.0}), [
            "it has no AdaEDL, which stops a draft by its entropy: this drafts the full length each time"
        ]
    return c, []


def _no_cut(c: Configuration) -> tuple[str, ...]:
    if c.policy == "speculative" and c.min_confidence:
        return ("it has no stop by confidence: this drafts the full length each time",)
    return ()


def _vllm(c: Configuration, draft_model: str) -> Export:
    settings: dict[str, Any] = {"num_speculative_tokens": c.draft_length}
    if c.policy == "prompt-lookup":
        settings |= {"method": "ngram", "prompt_lookup_max": c.longest_match, "prompt_lookup_min": 1}
    else:
        settings |= {"method": "draft_model", "model": draft_model}
        if c.draws_drafts:
            settings["draft_sample_method"] = "probabilistic"
    cut = _no_cut(c)
    refused = (NO_DRAFT_MODELS,) if "draft" in c.uses else ()
    return Export(f"--speculative-config {shlex.quote(json.dumps(settings))}", not cut, (*cut, *refused))


def _sglang(c: Configuration, draft_model: str) -> Export:
    # The tokens that the target judges at once: the draft's and, before them, the last one that was written.
    judged = f"--speculative-num-draft-tokens {c.draft_length + 1}"
    if c.policy == "prompt-lookup":
        why = "it looks for repetitions in a cache of all requests' texts, not in this one's alone"
        return Export(f"--speculative-algorithm NGRAM {judged}", exact=False, warnings=(why,))
    cut = _no_cut(c)
    flags = (
        f"--speculative-algorithm STANDALONE --speculative-draft-model-path {shlex.quote(draft_model)} "
        f"--speculative-num-steps {c.draft_length} --speculative-eagle-topk 1 {judged}"
    )
    return Export(flags, not cut, cut)


def _transformers(c: Configuration, draft_model: str) -> Export:
    if c.policy == "prompt-lookup":
        settings: dict[str, Any] = {
            "prompt_lookup_num_tokens": c.draft_length,
            "max_matching_ngram_size": c.longest_match,
        }
        return Export(json.dumps(settings, indent=2), exact=True)
    settings = {
        "num_assistant_tokens": c.draft_length,
        "num_assistant_tokens_schedule": "constant",
        "assistant_confidence_threshold": c.min_confidence,
    }
    return Export(
        json.dumps(settings, indent=2),
        exact=True,
        warnings=(
            f"these belong into the draft's own generation config; then model.generate(assistant_model={draft_model})",
        ),
    )


# Whether draft tokens are drawn at a temperature; none: as one wishes.
DRAWS: dict[str, bool | None] = {"vllm": None, "sglang": False, "transformers": True}

SYSTEMS: dict[str, Callable[[Configuration, str], Export]] = {
    "vllm": _vllm,
    "sglang": _sglang,
    "transformers": _transformers,
}
