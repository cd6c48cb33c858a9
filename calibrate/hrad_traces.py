"""H-RAD as part of a calibration: its foresight along the recorded texts, and the networks to go on with.

What a trace holds was foreseen by networks that never saw its prompt, as held-out prompts will be; the network
that is kept learns from all prompts.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from calibrate.artifact import DraftTrace, Trace
from engine.models import TARGET
from engine.pair import Pair, predictor_path

Advance = Callable[[str], None]


def foresee(pair: Pair, traces: Sequence[Trace], folder: Path, seed: int, advance: Advance) -> list[Trace]:
    """The traces (three or more) with each draft's `foreseen`; writes a network for each draft to `folder`.

    `advance` hears of each trace and each draft. Raises WorkerLost if a worker dies.
    """
    import torch  # here, since a calibration without H-RAD's networks has no use for it in this process

    from calibrate.hrad_examples import identify, know
    from calibrate.hrad_training import cross_fit, fit
    from engine.hrad import save_predictor

    target, _ = pair.players("in-turn", None)
    fingerprint = target.worker.call(identify, name=TARGET)
    features = []
    for trace in traces:
        features.append(know(target, trace.prompt.tolist(), trace.path.tolist()))
        advance("what the target knew")
    foreseen: dict[str, list[DraftTrace]] = {}
    for name, spec in pair.drafts.items():
        seen = [trace.drafts[name] for trace in traces]
        hits = [torch.from_numpy(s.tokens[:, 0] == t.path) for s, t in zip(seen, traces, strict=True)]
        crossed = cross_fit(features, hits, seed=seed).foreseen
        foreseen[name] = [
            replace(s, foreseen=chances.numpy().astype(np.float32))
            for s, chances in zip(seen, crossed, strict=True)
        ]
        predictor = fit(features, hits, seed=seed)
        how = {"prompts": len(traces), "positions": sum(map(len, hits)), "seed": seed}
        save_predictor(predictor_path(folder, name), predictor, fingerprint, spec, how)
        advance(f"foresight of {name}")
    return [
        replace(trace, drafts={name: views[index] for name, views in foreseen.items()})
        for index, trace in enumerate(traces)
    ]
