"""H-RAD as part of a calibration: its predictions along the recorded texts, and the networks to go on with.

What a trace holds was predicted by networks that never saw its prompt, as held-out prompts will be; the network
that is kept learns from all prompts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibrate.trace_records import DraftTrace, Trace
from engine.models.specs import TARGET
from engine.progress import Advance
from engine.runtime.pair import Pair, predictor_path


def predict_traces(
    pair: Pair, written: Sequence[Sequence[Trace]], folder: Path, seed: int, advance: Advance
) -> list[list[Trace]]:
    """The traces with each draft's `foreseen`; writes a network for each draft to `folder`.

    `written`: by manner of writing, the traces of three prompts or more. The networks learn from the first, which is
    greedy, and predict all. `advance` hears of each prompt and each draft. Raises WorkerLost if a worker dies.
    """
    import torch  # here, since a calibration without H-RAD's networks has no use for it in this process

    from calibrate.traces.hrad_examples import identify, know
    from calibrate.traces.hrad_training import cross_fit, fit
    from engine.models.hrad import save_predictor

    target, _ = pair.players("in-turn", None)
    fingerprint = target.worker.call(identify, name=TARGET)
    known = []
    for texts in zip(*written, strict=True):
        known.append(know(target, texts[0].prompt.tolist(), [text.path.tolist() for text in texts]))
        advance("what the target knew")
    features = [first for first, *_ in known]
    predicted: list[list[dict[str, NDArray[np.float32]]]] = [[{} for _ in traces] for traces in written]
    for name, spec in pair.drafts.items():
        hits = [torch.from_numpy(t.drafts[name].tokens[:, 0] == t.path) for t in written[0]]
        unaware = cross_fit(features, hits, seed=seed).unaware
        for manner, traces in enumerate(written):
            for place in range(len(traces)):
                chances = unaware[place].predict(known[place][manner]).numpy().astype(np.float32)
                predicted[manner][place][name] = chances
        predictor = fit(features, hits, seed=seed)
        how = {"prompts": len(hits), "positions": sum(map(len, hits)), "seed": seed}
        save_predictor(predictor_path(folder, name), predictor, fingerprint, spec, how)
        advance(f"predictions of {name}")
    return [
        [with_foresight(trace, mine) for trace, mine in zip(traces, seen, strict=True)]
        for traces, seen in zip(written, predicted, strict=True)
    ]


def with_foresight(trace: Trace, predicted: Mapping[str, NDArray[np.float32]]) -> Trace:
    """The trace with what H-RAD predicts of some drafts, which it does whether they draw their tokens or not."""

    def aware(views: Mapping[str, DraftTrace]) -> dict[str, DraftTrace]:
        return {
            name: replace(seen, foreseen=predicted[name]) if name in predicted else seen
            for name, seen in views.items()
        }

    return replace(trace, drafts=aware(trace.drafts), drawing=aware(trace.drawing))
