"""From a pair to a network for each of its drafts, and how well each predicts prompts that it never saw."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from calibrate.prompts import Prompt
from calibrate.traces.hrad_examples import count_steps, gather, identify, open_journal
from calibrate.traces.hrad_quality import Quality, quality
from calibrate.traces.hrad_training import Plan, cross_fit, fit
from engine.errors import ConfigurationError
from engine.models.hrad import save_predictor
from engine.models.specs import TARGET
from engine.models.tokenizer import Tokenizer
from engine.progress import Show
from engine.runtime.pair import Pair, predictor_path

LINES = (1, 3, 7)  # tokens of the lines that quality is stated for: draft lengths 2, 4 and 8


@dataclass(frozen=True)
class Trained:
    """A draft's network at `path`; `quality` is that of networks that saw other prompts, for each of LINES."""

    draft: str
    path: Path
    prompts: int
    positions: int
    quality: tuple[Quality, ...]


def train(
    pair: Pair,
    tokenizer: Tokenizer,
    prompts: Sequence[Prompt],
    tokens: int,
    folder: Path,
    *,
    plan: Plan | None = None,
    seed: int = 0,
    show: Show = lambda what, done, total: None,
) -> list[Trained]:
    """Write `folder`/DRAFT.safetensors for every draft, from the target's texts of up to `tokens` tokens.

    Interrupted, it resumes. `show` hears a stage, what is done of it, and its total. Raises WorkerLost if a worker
    dies, ConfigurationError for fewer than three prompts.
    """
    if len(prompts) < 3:
        raise ConfigurationError(f"{len(prompts)} prompts are too few for H-RAD: give it three or more.")
    plan = plan or Plan()
    journal = open_journal(folder, pair, prompts, tokens)
    total, done = count_steps(pair, prompts), 0

    def advance(what: str) -> None:
        nonlocal done
        done += 1
        show(f"lessons: {what}", done, total)

    lessons = gather(pair, tokenizer, prompts, tokens, journal, advance)
    target, _ = pair.players("in-turn", None)
    fingerprint = target.worker.call(identify, name=TARGET)
    features = [lesson.features for lesson in lessons]
    trained = []
    for index, (name, spec) in enumerate(pair.drafts.items()):
        show(f"training: {name}", index, len(pair.drafts))
        hits = [lesson.drafts[name].hits for lesson in lessons]
        chances = [lesson.drafts[name].chances for lesson in lessons]
        crossed = cross_fit(features, hits, plan, seed=seed)
        found = [quality(crossed.predicted, crossed.base, hits, chances, line) for line in LINES]
        predictor = fit(features, hits, plan, seed=seed)
        path = predictor_path(folder, name)
        positions = sum(map(len, hits))
        how = {
            "prompts": len(prompts),
            "positions": positions,
            "tokens": tokens,
            "seed": seed,
            "plan": asdict(plan),
        }
        save_predictor(path, predictor, fingerprint, spec, how)
        trained.append(Trained(name, path, len(prompts), positions, tuple(filter(None, found))))
    journal.clear()
    return trained
