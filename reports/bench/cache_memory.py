"""How much of its cache a draft uses while it branches, counted in the cache itself."""

import itertools
from typing import Any

from engine.runtime.pair import Pair
from engine.runtime.worker_process import Host
from reports.bench.benchmark_record import CacheUse

CONTEXTS, BRANCHES, LENGTHS = (64, 256, 512), (1, 2, 4, 8), (2, 4, 8)


def used_slots(host: Host, name: str, context: int, branches: int, length: int) -> dict[str, Any]:
    """One draft job in an emptied cache: its slots that hold anything afterwards, and bytes a slot and in all.

    Runs in the worker of a draft whose decoder is `engine.models.llama.Llama`; none where it is another.
    """
    import torch

    from engine.models.decoding import write_branches
    from engine.models.llama import Llama
    from engine.policies.words import DraftLimits

    hosted = host.models[name]
    decoder = hosted.model.decoder
    if not isinstance(decoder, Llama):
        return {}
    hosted.model.clear()
    hosted.text, hosted.trusted = [], 0
    text = [3 + (7 * i) % 29 for i in range(context)]
    with torch.inference_mode():
        decoder.cache.zero_()
        hosted.model.compute(write_branches(hosted.model, text, DraftLimits(length, branches)))
    used = int((decoder.cache[0] != 0).any(dim=-1).any(dim=0).sum())
    allocated = decoder.cache.nbytes
    hosted.model.clear()
    return {"slots": used, "allocated": allocated, "slot": allocated // decoder.cache.shape[2]}


def measure_memory(pair: Pair, draft: str) -> tuple[CacheUse, ...]:
    """Slots and bytes over context x branches x draft length; nothing for models on the general path."""
    _, player = pair.players("in-turn", draft)
    assert player is not None
    found = []
    for context, branches, length in itertools.product(CONTEXTS, BRANCHES, LENGTHS):
        seen = player.worker.call(
            used_slots, name=player.model, context=context, branches=branches, length=length
        )
        if not seen:
            return ()
        found.append(
            CacheUse(
                context=context,
                branches=branches,
                length=length,
                slots=seen["slots"],
                slot_bytes=seen["slot"],
                allocated_bytes=seen["allocated"],
            )
        )
    return tuple(found)
