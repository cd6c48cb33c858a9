"""A race from its beginning to its record: the pair is loaded by all, and the speed of memory is measured."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from calibrate.hardware import hardware
from calibrate.prompts import Prompt
from engine.drafts.default_drafts import choose_models
from engine.models.deepening import parameters, remarks
from engine.models.specs import ModelSpec
from engine.runtime.pair import open_pair
from engine.runtime.placement import usable_cores
from reports.race.benchmark import LoadBenchmark, Part, Plan, Race, Show
from reports.race.contestants import OURS, Ours, open_rivals
from reports.race.environments import Rival
from reports.race.limits import multiply_rate, read_bandwidth

DRAFT = "bfloat16"  # the plain target as it is, the draft of a deepened one


def part_name(deepen: int) -> str:
    """What the part of a pair is called in a record."""
    return "plain" if deepen == 1 else f"deepened {deepen} times"


def run_part(
    rivals: Sequence[Rival],
    deepen: int,
    plan: Plan,
    prompts: Sequence[Prompt],
    folder: Path,
    command: str,
    before: LoadBenchmark | None,
    show: Show,
) -> LoadBenchmark:
    """Race on the default target, `deepen` times as deep, and on its draft if that is more than once.

    Returns the record `before` with this part in it, where that is of the same machine and length of texts, else a new
    one. SpecBranchError if our engine fails; a rival that cannot race is named in the record, with why.
    """
    target, _ = choose_models(None, None, "bfloat16", deepen=deepen)
    draft = target.model_copy(update={"deepen": 1, "ngrams": None}) if deepen > 1 else None
    cores = usable_cores()
    bandwidth = read_bandwidth(len(cores))
    with open_pair(target, {DRAFT: draft} if draft else {}) as (pair, tokenizer):
        known = [tokenizer.encode(prompt.text) for prompt in prompts]
        places = max(map(len, known)) + plan.tokens + max(plan.lengths) + 1
        with open_rivals(
            rivals,
            target,
            draft,
            cores,
            max(plan.users),
            places,
            folder,
            lambda what: show(f"preparing: {what}", 0, 1),
        ) as (theirs, missing):
            show("preparing", 1, 1)
            ours = Ours(pair, OURS, DRAFT if draft else None)
            race = Race([ours, *theirs], known, plan, show, missing=missing)
            speeds = race.run()
    part = Part(
        title=_title(deepen, draft),
        command=command,
        speeds=tuple(speeds),
        tried=tuple(race.tried) if len(plan.lengths) > 1 else (),
        missing=tuple(race.missing),
        bandwidths=(bandwidth, read_bandwidth(len(cores))),
        products=multiply_rate(len(cores)),
        target_parameters=parameters(target),
        draft_parameters=parameters(draft) if draft else 0,
        remarks=remarks(target),
        created=datetime.now(UTC).date().isoformat(),
    )
    here = hardware()
    same = before is not None and (before.hardware, before.max_tokens) == (here, plan.tokens)
    others = before.parts if before is not None and same else {}
    return LoadBenchmark(hardware=here, max_tokens=plan.tokens, parts={**others, part_name(deepen): part})


def _title(deepen: int, draft: ModelSpec | None) -> str:
    if draft is None:
        return "Autoregressive decoding of the default target"
    return f"The target deepened {deepen} times, with the plain one as its draft"
