"""The texts that a verification wrote, as all models see them, so that they can be replayed. Torch-free."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from calibrate.artifact import Artifact
from calibrate.prompts import Prompt
from calibrate.trace_records import PromptRecord, Trace
from calibrate.traces.hrad_examples import predictions
from calibrate.traces.hrad_traces import with_foresight
from calibrate.traces.observation import Seen, Text, as_seen, view
from calibrate.traces.texts import trace_of
from engine.configuration import Configuration
from engine.models.sampling import Sampling
from engine.runtime.pair import Pair
from reports.verify.verification import Sample


def observe(
    pair: Pair,
    ids: Sequence[list[int]],
    sampling: Sequence[Sampling],
    samples: Mapping[Configuration, Sequence[Sample]],
    prompts: Sequence[int],
) -> list[Trace]:
    """How all models see the texts of these prompts, as a policy that drafts wrote them (`calibrate.traces.texts`)."""
    drafting = [mine for c, mine in samples.items() if c.drafts]
    written = drafting[0] if drafting else next(iter(samples.values()))
    used = {name for c in samples if (name := c.draft_among(pair.drafts)) is not None}
    foreseeing = {
        name: partial(_predictions, pair, name)
        for c in samples
        if c.hrad and (name := c.draft_among(pair.drafts)) is not None
    }
    traces = []
    for prompt in prompts:
        tokens = ids[prompt]
        path = list(next(s.run.tokens for s in written if s.prompt == prompt))
        text = Text(path, sampling[prompt])
        views: dict[str, Seen] = {}
        for name in used:
            _, player = pair.players("in-turn", name)
            assert player is not None
            views[name] = as_seen(view(player, tokens, [text])[0])
        foreseen = {
            name: np.array(foresee(tokens, path), dtype=np.float32) for name, foresee in foreseeing.items()
        }
        traces.append(with_foresight(trace_of(tokens, text, views), foreseen))
    return traces


def _predictions(pair: Pair, draft: str, prompt: list[int], path: list[int]) -> list[list[float]]:
    """What the target's network predicts of a draft along a text."""
    target, _ = pair.players("in-turn", draft)
    pair.teach(target, draft)
    foreseen: list[list[float]] = target.worker.call(
        predictions, name=target.model, draft=draft, prompt=prompt, path=path
    )
    return foreseen


def on_these_prompts(
    artifact: Artifact,
    prompts: Sequence[Prompt],
    ids: Sequence[list[int]],
    traces: Sequence[Trace],
    max_tokens: int,
    temperature: float,
) -> Artifact:
    """The artifact's costs with these prompts' texts, greedy ones or drawn, and with the drafts that read these."""
    records = tuple(
        PromptRecord(id=p.id, kind=p.kind, digest=p.digest, tokens=len(tokens), path_tokens=len(trace.path))
        for p, tokens, trace in zip(prompts, ids, traces, strict=True)
    )
    drafts = artifact.recorded.drafts
    read = {name: record for name, record in drafts.items() if all(name in trace.drafts for trace in traces)}
    update = {
        "prompts": records,
        "drafts": read,
        "max_tokens": max_tokens,
        "temperature": temperature or None,
    }
    if temperature:
        update |= {"sampled_tokens": max_tokens}
    recorded, costs = artifact.recorded.model_copy(update=update), artifact.costs
    costs = costs.model_copy(update={"rehearsals": ()})
    return Artifact(
        costs, recorded, () if temperature else tuple(traces), tuple(traces) if temperature else ()
    )
