"""What H-RAD learns from: the target's own texts, what the target knew in them, and where each draft agreed."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calibrate.hardware import model_digest
from calibrate.journal import Journal
from calibrate.prompts import Prompt
from calibrate.traces.observation import observe, read_behind
from engine.configuration import Configuration
from engine.drafts.training_prompts import held_out_prompts
from engine.models.specs import TARGET
from engine.models.tokenizer import Tokenizer
from engine.progress import Advance
from engine.runtime.pair import Pair
from engine.runtime.placement import Placement
from engine.runtime.session import Player
from engine.runtime.worker_process import Host

if TYPE_CHECKING:
    from torch import Tensor

PLACEMENT: Placement = "in-turn"


@dataclass(frozen=True)
class Agreement:
    """Along a path of T tokens: `hits` bool [T], a draft's first candidate is the path's token; its `chances`
    float32 [T], the draft's probability of that candidate."""

    hits: "Tensor"
    chances: "Tensor"


@dataclass(frozen=True)
class Lesson:
    """The target's own text of T tokens on one prompt.

    `features` [T, F] float32: `engine.models.hrad.watched` where each token was written. `drafts` by name.
    """

    features: "Tensor"
    drafts: Mapping[str, Agreement]


def unseen_prompts(count: int) -> tuple[Prompt, ...]:
    """The first `count` of the prompts that no draft was distilled on, all if there are fewer; none is built in.

    Composed prompts would be without end, but a distilled draft agrees with the target's answers to their
    templates more often than elsewhere, so that what is learnt there is wrong elsewhere (docs/lab-notes.md, "H-RAD").
    """
    by_kind = itertools.groupby(held_out_prompts(), key=lambda prompt: prompt.kind)
    rounds = itertools.zip_longest(*(list(prompts) for _, prompts in by_kind))
    turns = (prompt for prompt in itertools.chain.from_iterable(rounds) if prompt is not None)
    return tuple(
        Prompt(f"unseen-{place}", prompt.kind, "training", prompt.text)
        for place, prompt in enumerate(itertools.islice(turns, count))
    )


def count_steps(pair: Pair, prompts: Sequence[Prompt]) -> int:
    """How often `gather` will report an advance."""
    return len(prompts) * (2 + len(pair.drafts))


def open_journal(folder: Path, pair: Pair, prompts: Sequence[Prompt], tokens: int) -> Journal:
    """What an interrupted `gather` of just these lessons noted under `folder`."""
    specs = {TARGET: pair.target, **pair.drafts}
    models = {name: [spec.model_dump(mode="json"), model_digest(spec)] for name, spec in specs.items()}
    return Journal(folder, ["hrad", models, [p.digest for p in prompts], tokens])


def gather(
    pair: Pair,
    tokenizer: Tokenizer,
    prompts: Sequence[Prompt],
    tokens: int,
    journal: Journal,
    advance: Advance = lambda what: None,
) -> list[Lesson]:
    """A lesson for each prompt, of up to `tokens` tokens; steps that `journal` has are not done again.

    The texts are written by speculative decoding, as a calibration's are (docs/design.md, "Numeric ties").
    `advance` hears what was just done, `count_steps` times. Raises WorkerLost if a worker dies.
    """

    def player(name: str | None) -> Player:
        target, draft = pair.players(PLACEMENT, name)
        return draft or target

    def write(ids: list[int]) -> list[int]:
        run = pair.generate(
            Configuration(policy="speculative", placement=PLACEMENT),
            ids,
            max_tokens=tokens,
            end_tokens=tokenizer.end_tokens,
        )
        return list(run.tokens)

    def agreement(name: str, ids: list[int], path: list[int]) -> dict[str, Any]:
        mine = player(name)
        ((seen,),) = mine.worker.call(observe, name=name, prompt=ids, texts=[[path, {}]], count=1, length=0)
        return {
            "hits": [first == token for (first, *_), token in zip(seen["tokens"], path, strict=True)],
            "chances": [chance for (chance, *_) in seen["chances"]],
        }

    lessons = []
    for index, prompt in enumerate(prompts):
        ids = tokenizer.encode(prompt.text)
        path = journal.step(f"{index}.path", partial(write, ids))
        advance("the target's text")
        drafts = {}
        for name in pair.drafts:
            drafts[name] = journal.step(f"{index}.{name}", partial(agreement, name, ids, path))
            advance(f"agreement of {name}")
        # Quick to read again and much to keep, so the journal does without it.
        (features,) = know(player(None), ids, [path])
        advance("what the target knew")
        lessons.append(Lesson(features, {name: _agreement(a) for name, a in drafts.items()}))
    return lessons


def know(target: Player, prompt: list[int], paths: Sequence[list[int]]) -> "list[Tensor]":
    """The `features` of a `Lesson` for each path behind a prompt, which the target reads once."""
    import torch

    seen = target.worker.call(knowledge, name=target.model, prompt=prompt, paths=paths)
    return [
        torch.frombuffer(bytearray(features), dtype=torch.float32).view(len(path), -1)
        for features, path in zip(seen, paths, strict=True)
    ]


def knowledge(host: Host, name: str, prompt: list[int], paths: list[list[int]]) -> list[bytes]:
    """`engine.models.hrad.watched` for each token of each path behind `prompt`, as `know` takes it."""
    return [rows.cpu().numpy().tobytes() for rows in _known(host, name, prompt, paths)]


def predictions(host: Host, name: str, draft: str, prompt: list[int], path: list[int]) -> list[list[float]]:
    """What the target's network for a draft predicts behind each token of a path: `DraftTrace.foreseen`."""
    (known,) = _known(host, name, prompt, [path])
    chances: list[list[float]] = host.models[name].predictors[draft].predict(known).tolist()
    return chances


def identify(host: Host, name: str) -> str:
    """The fingerprint of a target (`engine.models.hrad.fingerprint`)."""
    from engine.models.hrad import fingerprint

    return fingerprint(host.models[name].model.decoder)


def _known(host: Host, name: str, prompt: list[int], paths: Sequence[list[int]]) -> "list[Tensor]":
    """`engine.models.hrad.watched` for each token of each path behind a prompt: [T, F] float32 each.

    A compiled forward leaves float32 and PyTorch's what the model computes in, and a path may be read by either.
    """
    from engine.models.hrad import watched

    model = host.models[name].model
    model.clear()
    model.decoder.watch = True
    try:
        known = []
        for path in paths:
            read_behind(model, prompt, path)
            known.append(watched(model.decoder, range(len(path)), path).float())
        return known
    finally:
        model.decoder.watch = False
        model.clear()


def _agreement(seen: dict[str, Any]) -> Agreement:
    import torch

    return Agreement(torch.tensor(seen["hits"], dtype=torch.bool), torch.tensor(seen["chances"]))
