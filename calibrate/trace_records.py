"""Acceptance traces: the target's texts as drafts see them, the schema of `traces.json` and its arrays. Torch-free.

`RecordedTraces` says what the traces are of; the traces themselves are arrays, in a file whose sha256 it holds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from calibrate.records import Measurement, Record
from calibrate.versions import History

VERSIONS = History(present=1, migrations={}, too_old="there was none before the first")
DRAWING = "drawing"  # the kind of views of sampled texts by drafts that draw


class PromptRecord(Record):
    """A prompt of the traces; `tokens` long as the target reads it."""

    id: str
    kind: str
    digest: str
    tokens: int
    path_tokens: int


class RecordedTraces(Measurement):
    """What the acceptance traces of a calibration are of, one for each of `prompts`.

    `max_tokens`: of a greedy text. `temperature`: of the sampled texts, if there are any (see `Artifact.sampled`), of
    up to `sampled_tokens` tokens and drawn with `seed` (see `Sampling.of_text`, by the prompts' digests).
    """

    version: int = VERSIONS.present
    prompts: tuple[PromptRecord, ...]
    max_tokens: int
    temperature: float | None = None
    sampled_tokens: int = 0
    arrays_sha256: str = ""


@dataclass(frozen=True)
class DraftTrace:
    """How a draft saw one target path of T tokens, K candidates and L continuation steps.

    `tokens` int32 [T, K] and `chances` float32 [T, K]: its candidates at each position behind the true tokens,
    best first; `off_tokens` int32 and `off_chances` float32 [T, L]: where its first candidate is wrong, its
    own greedy continuation behind that candidate (NaN chances where not recorded); `bounds` float32 [T] and
    `off_bounds` float32 [T, L]: AdaEDL's bound of the acceptance where `chances` and `off_chances` are. All of these
    are of the logits that the draft goes by: with their noise where it draws (see `engine.models.sampling`).
    `true_chance` float32 [T]: its probability of the target's token, q(y), without noise. `foreseen` float32
    [T, R + 1]: H-RAD's chances of how many of the draft's tokens behind each token will be accepted, 0 to R - 1 or
    more, by a network that never saw the prompt; no rows where none was trained.
    """

    tokens: NDArray[np.int32]
    chances: NDArray[np.float32]
    off_tokens: NDArray[np.int32]
    off_chances: NDArray[np.float32]
    true_chance: NDArray[np.float32]
    bounds: NDArray[np.float32]
    off_bounds: NDArray[np.float32]
    foreseen: NDArray[np.float32]


@dataclass(frozen=True)
class Trace:
    """One prompt's tokens int32 [P], its path int32 [T] (the target's own text), and each draft's view.

    `chances` float32 [T]: the target's probability of each token of the path, p(y); no rows where not recorded.
    `drawing`: of a text at a temperature, each draft's view where it draws its tokens too.
    """

    prompt: NDArray[np.int32]
    path: NDArray[np.int32]
    drafts: Mapping[str, DraftTrace]
    chances: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, dtype=np.float32))
    drawing: Mapping[str, DraftTrace] = field(default_factory=dict)

    def views(self, *, drawn: bool) -> Mapping[str, DraftTrace]:
        """Of drafts that draw their tokens, or that take their most likely ones."""
        return self.drawing if drawn else self.drafts


_DRAFT_ARRAYS = tuple(DraftTrace.__dataclass_fields__)
_TRACE_ARRAYS = ("prompt", "path", "chances")


def to_bytes(greedy: Sequence[Trace], sampled: Sequence[Trace]) -> bytes:
    """The traces as a file of arrays (safetensors)."""
    arrays: dict[str, NDArray[np.generic]] = {}
    for kind, traces in (("greedy", greedy), ("sampled", sampled)):
        for index, trace in enumerate(traces):
            arrays |= {f"{kind}.{index}.{key}": getattr(trace, key) for key in _TRACE_ARRAYS}
            for how, views in ((kind, trace.drafts), (DRAWING, trace.drawing)):
                for name, seen in views.items():
                    arrays |= {f"{how}.{index}.{name}.{key}": getattr(seen, key) for key in _DRAFT_ARRAYS}
    return save_arrays(arrays)


def from_bytes(record: RecordedTraces, data: bytes) -> tuple[tuple[Trace, ...], tuple[Trace, ...]]:
    """The greedy and the sampled traces. SafetensorError or KeyError if one that the record has is not there."""
    arrays = load_arrays(data)
    kinds = {key.partition(".")[0] for key in arrays}
    greedy, sampled = (
        _traces(record, arrays, kind) if kind in kinds else () for kind in ("greedy", "sampled")
    )
    return greedy, sampled


def _traces(record: RecordedTraces, arrays: Mapping[str, NDArray[Any]], kind: str) -> tuple[Trace, ...]:
    def seen(place: str) -> DraftTrace:
        return DraftTrace(**{key: arrays[f"{place}.{key}"] for key in _DRAFT_ARRAYS})

    return tuple(
        Trace(
            drafts={name: seen(f"{kind}.{index}.{name}") for name in record.drafts},
            drawing={name: seen(f"{DRAWING}.{index}.{name}") for name in record.drafts if kind == "sampled"},
            **{key: arrays[f"{kind}.{index}.{key}"] for key in _TRACE_ARRAYS},
        )
        for index in range(len(record.prompts))
    )
