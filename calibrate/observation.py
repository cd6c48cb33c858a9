"""How a draft sees the target's text, and how sure the target was of it, as recorded inside a worker."""

from typing import Any

import numpy as np

from calibrate.artifact import DraftTrace
from engine.sampling import GREEDY, Sampling
from engine.session import Player
from engine.worker_process import Host

CANDIDATES = 8  # recorded at each position, the most branches a replay can open
CONTINUATION = 12  # recorded tokens behind a wrong first candidate


def view(player: Player, prompt: list[int], path: list[int], sampling: Sampling = GREEDY) -> dict[str, Any]:
    """`observe` in the worker of a draft."""
    seen: dict[str, Any] = player.worker.call(
        observe,
        name=player.model,
        prompt=prompt,
        path=path,
        count=CANDIDATES,
        length=CONTINUATION,
        sampling=sampling.model_dump(mode="json"),
    )
    return seen


def as_trace(seen: dict[str, Any]) -> DraftTrace:
    """The arrays of what `observe` returned."""
    return DraftTrace(
        tokens=np.array(seen["tokens"], dtype=np.int32),
        chances=np.array(seen["chances"], dtype=np.float32),
        off_tokens=np.array(seen["off_tokens"], dtype=np.int32),
        off_chances=np.array(seen["off_chances"], dtype=np.float32),
        true_chance=np.array(seen["true_chance"], dtype=np.float32),
        bounds=np.array(seen["bounds"], dtype=np.float32),
        off_bounds=np.array(seen["off_bounds"], dtype=np.float32),
        foreseen=np.zeros((0, 0), dtype=np.float32),
    )


def observe(
    host: Host,
    name: str,
    prompt: list[int],
    path: list[int],
    count: int,
    length: int,
    sampling: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The arrays of `calibrate.artifact.DraftTrace` as lists, for a path of T tokens behind `prompt`.

    Only the chance of the path's token depends on `sampling`: confidences never do.

    One pass over prompt and path gives the candidates at each position; then all wrong first candidates are
    continued greedily side by side, each seeing the true text before it and its own tokens alone.
    """
    import torch

    from engine.decoding import candidates
    from engine.distributions import acceptance_bound

    model = host.models[name].model
    model.clear()
    logits = model.read([*prompt, *path[:-1]], last=len(path))
    chances = _distribution(logits, Sampling(**sampling or {}))
    best, bounds = candidates(model, logits, count), acceptance_bound(logits).tolist()
    truth = torch.tensor(path, device=logits.device)
    if model.kept_tokens is None:
        true_chance = chances.gather(1, truth[:, None])[:, 0]
    else:
        held = (model.kept_tokens[None, :] == truth[:, None]).to(chances.dtype)
        true_chance = (held * chances).sum(dim=1)
    missed = [position for position, (tokens, _) in enumerate(best) if tokens[0] != path[position]]
    off_tokens = [[0] * length for _ in path]
    off_chances = [[float("nan")] * length for _ in path]
    off_bounds = [[float("nan")] * length for _ in path]
    start = len(prompt) + len(path) - 1
    visible = torch.full((len(missed), start), float("-inf"))
    for row, position in enumerate(missed):
        visible[row, : len(prompt) + position] = 0.0
    current = [best[position][0][0] for position in missed]
    for step in range(length if missed else 0):
        own = torch.full((len(missed), len(missed)), float("-inf"))
        own.fill_diagonal_(0.0)
        visible = torch.cat([visible, own], dim=1)
        positions = [len(prompt) + position + step for position in missed]
        logits = model.decoder.forward(
            current, positions, start + step * len(missed), visible, len(missed)
        ).float()
        best_now, bounds_now = candidates(model, logits, 1), acceptance_bound(logits).tolist()
        for row, (position, ((token,), (chance,))) in enumerate(zip(missed, best_now, strict=True)):
            current[row] = off_tokens[position][step] = token
            off_chances[position][step], off_bounds[position][step] = chance, bounds_now[row]
    model.clear()
    return {
        "tokens": [tokens for tokens, _ in best],
        "chances": [chances for _, chances in best],
        "off_tokens": off_tokens,
        "off_chances": off_chances,
        "true_chance": true_chance.tolist(),
        "bounds": bounds,
        "off_bounds": off_bounds,
    }


def certainty(
    host: Host, name: str, prompt: list[int], path: list[int], sampling: dict[str, Any]
) -> list[float]:
    """The target's probability of each token of a path behind `prompt`, by one pass over both."""
    import torch

    model = host.models[name].model
    model.clear()
    logits = model.read([*prompt, *path[:-1]], last=len(path))
    truth = torch.tensor(path, device=logits.device)
    chances: list[float] = (
        _distribution(logits, Sampling(**sampling)).gather(1, truth[:, None])[:, 0].tolist()
    )
    model.clear()
    return chances


def _distribution(logits: Any, sampling: Sampling) -> Any:
    """What tokens are drawn from; of greedy decoding, what they would be drawn from at temperature 1."""
    from engine.distributions import distribution

    return logits.float().softmax(dim=-1) if sampling.greedy else distribution(logits, sampling)


def audit(host: Host, name: str, prompt: list[int], tokens: list[int]) -> list[float]:
    """For each token of a text, how far its logit lies below the target's best: 0 where it is the argmax.

    One teacher-forced pass over the prompt and the text.
    """
    import torch

    model = host.models[name].model
    model.clear()
    logits = model.read([*prompt, *tokens[:-1]], last=len(tokens))
    chosen = logits.gather(1, torch.tensor(tokens, device=logits.device)[:, None])[:, 0]
    gaps: list[float] = (logits.max(dim=-1).values - chosen).tolist()
    model.clear()
    return gaps
