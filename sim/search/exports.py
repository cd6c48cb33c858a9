"""A configuration in the words of the systems that people serve with, as far as they have the method. Torch-free.

`SYSTEMS` is all that is known of each of them: `export` explains by it what a system does otherwise than was simulated,
and `tune --for` searches what it does just so.

Names as documented: vLLM's `--speculative-config` (its SpeculativeConfig, version 0.26), SGLang's server arguments (its
page on speculative decoding), transformers' GenerationConfig (5).
"""

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from engine.configuration import Configuration
from engine.errors import ConfigurationError
from engine.models.specs import ModelSpec
from engine.runtime.placement import Placement
from sim.search.grid import Restriction

DRAFT = "DRAFT_MODEL"  # stands for the draft's name where none was given

# Settings that none of the systems has beside a draft model, and what they do.
AIDS = {
    ("guesses", "repeats"): "use the text's repetitions and n-grams beside a draft",
    ("second_under",): "judge a draft's second choices",
}

BY_LOAD = "length-by-load"

# Ranges of vLLM's have ends, and beyond the last one its length holds (its `build_dynamic_sd_schedule_lookup`).
LAST = 1024

# As its page on dynamic speculative decoding says (pull request 32374 brought it).
OF_LENGTHS = (
    "lengths by batch size are tested there with EAGLE and DFlash drafts, and are off with data parallelism"
)

# As told in vLLM's issues 21797 and 31883; its pull request 24322 brought them back.
NO_DRAFT_MODELS = "vLLM 0.10 to 0.13 refuse draft models; take an earlier or a later version"


@dataclass(frozen=True)
class System:
    """What a serving system can do, and how it is told to.

    `placements`: where a draft model may run. `draws`: whether draft tokens are drawn at a temperature; none: as one
    wishes. `cut`: what it does about a draft's least confidence. `lookup`: what its prompt lookup does otherwise even
    where it goes by the first match; empty: nothing. `write` makes the settings of a configuration and the draft's
    name; `notes` says more about them. `write_by_load`: the same with draft lengths by how many requests run (first,
    last, length); None: it cannot.
    """

    title: str
    placements: tuple[Placement, ...]
    draws: bool | None
    cut: str
    lookup: str
    write: Callable[[Configuration, str], str]
    notes: Callable[[Configuration, str], tuple[str, ...]]
    write_by_load: Callable[[Configuration, str, Sequence[tuple[int, int, int]]], str] | None = None


@dataclass(frozen=True)
class Export:
    """What to give to a system: flags of a command line, or a JSON file's text.

    `exact`: the system does what was simulated, but for its own kernels and scheduling. `warnings` say what it
    does otherwise.
    """

    text: str
    exact: bool
    warnings: tuple[str, ...] = ()


def find_system(name: str) -> System:
    """What is known of a system. ConfigurationError, with those there are, if it is none of them."""
    if name not in SYSTEMS:
        raise ConfigurationError(f"there is no system '{name}' to export to: {', '.join(SYSTEMS)}.")
    return SYSTEMS[name]


def export(
    configuration: Configuration,
    system: str,
    draft_model: str | None = None,
    temperature: float = 0.0,
    draft: ModelSpec | None = None,
) -> Export:
    """`configuration` for one of `SYSTEMS`; `draft_model` is the draft's name or folder there.

    `temperature`: that it was tuned for, at which draft tokens may be drawn. `draft`: what the draft is made of here,
    if that is known. ConfigurationError if there is no such system.
    """
    known = find_system(system)
    alone = _alone(configuration)
    if not configuration.drafts or not _longest(configuration):
        return Export("", exact=True, warnings=("nothing to set: this decodes without a draft", *alone))
    with_model = "draft" in configuration.uses
    if with_model and draft_model is None and draft is not None and is_whole(draft):
        draft_model = draft.source
    nearest, otherwise = _nearest(configuration), differences(configuration, system, temperature, draft)
    name = draft_model or DRAFT
    notes = [*otherwise, *known.notes(nearest, name), *alone]
    if with_model and draft_model is None:
        notes.append(f"put the draft's name in place of {DRAFT} (--draft-model)")
    text = known.write(nearest, name)
    if configuration.policy == BY_LOAD and known.write_by_load:
        lengths = [
            (first, max(first, LAST) if last is None else last, length)
            for first, last, length in configuration.lengths
        ]
        text = known.write_by_load(nearest, name, lengths)
        notes.append(OF_LENGTHS)
    return Export(text, exact=not otherwise, warnings=tuple(notes))


def export_by_load(
    stretches: Sequence[tuple[int, int, Configuration]],
    system: str,
    draft_model: str | None = None,
    temperature: float = 0.0,
    drafts: Mapping[str, ModelSpec] | None = None,
) -> Export:
    """A schedule, of configurations from so many running requests to so many, for a system that has one.

    Other arguments as those of `export`, `drafts` by name. ConfigurationError if there is no such system, if it has no
    schedules, or if the schedule drafts in several ways, of which a server has one.
    """
    known = find_system(system)
    if known.write_by_load is None:
        raise ConfigurationError(
            f"{known.title} is not told of draft lengths by load here; those that are: "
            f"{', '.join(name for name, its in SYSTEMS.items() if its.write_by_load)}."
        )
    drafting = [c for _, _, c in stretches if c.drafts]
    if not drafting:
        return export(stretches[0][2], system)
    longest = max(drafting, key=lambda c: c.draft_length)
    if len({c.model_copy(update={"draft_length": 1}) for c in drafting}) > 1:
        raise ConfigurationError(
            f"a server of {known.title} drafts in one way, and this schedule in several: 'specbranch schedule --for "
            f"{system}' finds one that differs in its lengths alone."
        )
    draft = drafts[name] if drafts and (name := longest.draft_among(drafts)) else None
    made = export(longest, system, draft_model, temperature, draft)
    name = draft_model or (draft.source if draft is not None and is_whole(draft) else DRAFT)
    lengths = [(first, last, c.draft_length if c.drafts else 0) for first, last, c in stretches]
    text = known.write_by_load(_nearest(longest), name, lengths)
    return replace(made, text=text, warnings=(*made.warnings, OF_LENGTHS))


def restriction(system: str, drafts: Mapping[str, ModelSpec], temperature: float = 0.0) -> Restriction:
    """What a search for a system is restricted to: what `export` says exactly. ConfigurationError as `find_system`.

    `drafts`: those of the calibration by name, the first one being the default.
    """
    title = find_system(system).title

    def allows(configuration: Configuration) -> bool:
        draft = drafts[name] if (name := configuration.draft_among(drafts)) else None
        return not differences(configuration, system, temperature, draft)

    notes = [
        f"only what {title} runs as it is simulated was searched; its kernels and scheduling cost otherwise"
    ]
    made_here = [name for name, spec in drafts.items() if not is_whole(spec)]
    if made_here:
        notes.append(
            f"{title} loads whole models, so drafts that are made here ({', '.join(made_here)}) were left out; "
            "calibrate with --draft-model to search one that it has"
        )
    if temperature and SYSTEMS[system].draws:
        notes.append(
            f"at a temperature {title} draws draft tokens by itself, otherwise than is simulated, so draft models were "
            "left out"
        )
    return Restriction(system, title, allows, tuple(notes))


def is_whole(draft: ModelSpec) -> bool:
    """Whether a draft is a model as it was saved, which any system loads, and not made of one here."""
    return not (draft.bits or draft.distilled or draft.kept_tokens)


def differences(
    c: Configuration, system: str, temperature: float = 0.0, draft: ModelSpec | None = None
) -> tuple[str, ...]:
    """What a system does otherwise than was simulated, a clause for each; none: it does just that.

    Arguments as those of `export`, of a system that there is.
    """
    known = SYSTEMS[system]
    if not c.drafts or not _longest(c):
        return ()
    found = _other_method(c, known)
    for names, what in AIDS.items():
        if any(getattr(c, name) for name in names if name in c.uses):
            found.append(f"it does not {what}, so it is slower than was predicted")
    if c.policy in ("speculative", BY_LOAD) and c.min_confidence:
        found.append(known.cut)
    if c.policy == "prompt-lookup":
        if not c.first_match:
            found.append("it goes by where the text's last tokens occurred first, not by where they did last")
        found += [known.lookup] if known.lookup else []
    if "draft" not in c.uses:
        return tuple(found)
    if c.placement not in known.placements:
        found.append(
            f"it runs the draft on the target's own devices, in turn, where '{c.placement}' was predicted"
        )
    if temperature:
        found += _drawn_otherwise(c.draws_drafts, known.draws)
    if draft is not None and not is_whole(draft):
        found.append(
            "it loads whole models, and this draft is made here "
            f"({draft.describe().partition(', ')[2]}): what stands for it there has another speed and acceptance"
        )
    return tuple(found)


def _alone(c: Configuration) -> tuple[str, ...]:
    """Where no draft model runs, a placement still says how much of the machine the target has."""
    if c.placement == "in-turn" or "draft" in c.uses:
        return ()
    return (f"predicted for the target alone on its part of the devices ('{c.placement}'): give it no more",)


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


def _longest(c: Configuration) -> int:
    """Tokens of a draft at most, at whichever load."""
    return max(length for *_, length in c.lengths) if c.policy == BY_LOAD else c.draft_length


def _nearest(c: Configuration) -> Configuration:
    """What drafts and verifies in turn stands for what does both at once, and for what stops by entropy or by load."""
    if c.policy in ("speculative", "prompt-lookup"):
        return c
    cut = {"min_confidence": 0.0} if c.policy == "adaedl" else {}
    return c.model_copy(update={"policy": "speculative", "draft_length": _longest(c), **cut})


def _other_method(c: Configuration, known: System) -> list[str]:
    """What is said of a policy that a system does not have."""
    if c.policy == BY_LOAD:
        longest = f"it is not told of draft lengths by load: this drafts {_longest(c)} tokens at every load"
        return [] if known.write_by_load else [longest]
    if c.policy in ("pearl", "specbranch"):
        name = {"pearl": "PEARL", "specbranch": "SpecBranch"}[c.policy]
        return [
            f"it has no {name}, which drafts while the target verifies: this is standard speculative decoding with the "
            "same draft length, and what was predicted does not carry over; tune with the policies it has (--for)"
        ]
    if c.policy == "adaedl":
        return ["it has no AdaEDL, which stops a draft by its entropy: this drafts the full length each time"]
    return [] if c.policy in ("speculative", "prompt-lookup") else [f"it has no '{c.policy}'"]


def _vllm(c: Configuration, draft_model: str) -> str:
    return _vllm_flag(_vllm_settings(c, draft_model))


def _vllm_flag(settings: dict[str, Any]) -> str:
    return f"--speculative-config {shlex.quote(json.dumps(settings))}"


def _vllm_settings(c: Configuration, draft_model: str) -> dict[str, Any]:
    settings: dict[str, Any] = {"num_speculative_tokens": c.draft_length}
    if c.policy == "prompt-lookup":
        settings |= {"method": "ngram", "prompt_lookup_max": c.longest_match, "prompt_lookup_min": 1}
    else:
        settings |= {"method": "draft_model", "model": draft_model}
        if c.draws_drafts:
            settings["draft_sample_method"] = "probabilistic"
    return settings


def _vllm_by_load(c: Configuration, draft_model: str, lengths: Sequence[tuple[int, int, int]]) -> str:
    by_load = {"num_speculative_tokens_per_batch_size": [list(stretch) for stretch in lengths]}
    return _vllm_flag(_vllm_settings(c, draft_model) | by_load)


def _sglang(c: Configuration, draft_model: str) -> str:
    # The tokens that the target judges at once: the draft's and, before them, the last one that was written.
    judged = f"--speculative-num-draft-tokens {c.draft_length + 1}"
    if c.policy == "prompt-lookup":
        return f"--speculative-algorithm NGRAM {judged}"
    return (
        f"--speculative-algorithm STANDALONE --speculative-draft-model-path {shlex.quote(draft_model)} "
        f"--speculative-num-steps {c.draft_length} --speculative-eagle-topk 1 {judged}"
    )


def _transformers(c: Configuration, draft_model: str) -> str:
    if c.policy == "prompt-lookup":
        settings: dict[str, Any] = {
            "prompt_lookup_num_tokens": c.draft_length,
            "max_matching_ngram_size": c.longest_match,
        }
    else:
        settings = {
            "num_assistant_tokens": c.draft_length,
            "num_assistant_tokens_schedule": "constant",
            "assistant_confidence_threshold": c.min_confidence,
        }
    return json.dumps(settings, indent=2)


def _of_vllm(c: Configuration, draft_model: str) -> tuple[str, ...]:
    return (NO_DRAFT_MODELS,) if "draft" in c.uses else ()


def _of_sglang(c: Configuration, draft_model: str) -> tuple[str, ...]:
    return ()


def _of_transformers(c: Configuration, draft_model: str) -> tuple[str, ...]:
    if "draft" not in c.uses:
        return ()
    where = "; load the draft on a device of its own" if c.placement == "at-once" else ""
    return (
        "these belong into the draft's own generation config; then "
        f"model.generate(assistant_model={draft_model}){where}",
    )


_NO_CUT = "it has no stop by confidence: this drafts the full length each time"

SYSTEMS: dict[str, System] = {
    "vllm": System(
        title="vLLM",
        placements=("in-turn",),
        draws=None,
        cut=_NO_CUT,
        lookup="",
        write=_vllm,
        notes=_of_vllm,
        write_by_load=_vllm_by_load,
    ),
    "sglang": System(
        title="SGLang",
        placements=("in-turn",),
        draws=False,
        cut=_NO_CUT,
        lookup="it looks for repetitions in a cache of all requests' texts, not in this one's alone",
        write=_sglang,
        notes=_of_sglang,
    ),
    "transformers": System(
        title="transformers",
        placements=("in-turn", "at-once"),  # a draft may be loaded on any device
        draws=True,
        # As its ConfidenceCriteria has it, and its candidate generator, where scikit-learn is installed.
        cut="it stops behind an unsure token, which the target then judges too, and may move the threshold by itself",
        lookup="",
        write=_transformers,
        notes=_of_transformers,
    ),
}
