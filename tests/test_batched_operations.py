"""A batched cell is what the engine reads for several requests: one forward, of rows of each, apart in the cache."""

from collections.abc import Callable, Sequence

import pytest
import torch
from tiny_families import tiny
from tiny_models import tiny_llama

from calibrate.costs import operations
from engine.models.cached_model import CachedModel
from engine.models.decoder import Decoder
from engine.models.llama import Llama
from engine.models.rows import Rows
from engine.models.specs import TARGET
from engine.models.transformers_model import TransformersModel
from engine.runtime.worker_process import Host, Hosted

CONTEXT, SEQUENCES = 12, 3


def lean() -> Decoder:
    model = tiny_llama(0)
    return Llama(model.config, model.state_dict(), torch.float32, capacity=4)


def general() -> Decoder:
    return TransformersModel(tiny("Gemma 3", 0))


class Watched(CachedModel):
    """A model whose decoder's forwards are noted, after which it reads as before."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__(decoder)
        self.batches: list[Sequence[Rows]] = []
        forward = decoder.forward

        def noted(batch: Sequence[Rows]) -> torch.Tensor:
            self.batches.append(batch)
            return forward(batch)

        decoder.forward = noted  # type: ignore[method-assign]


@pytest.mark.parametrize("make", [lean, general])
@pytest.mark.parametrize(("name", "tokens", "steps"), [(TARGET, 3, 1), ("draft", 1, 1), ("draft", 2, 4)])
def test_a_batch_has_rows_of_each_text_behind_its_own_context(
    make: Callable[[], Decoder], name: str, tokens: int, steps: int
) -> None:
    model = Watched(make())
    host = Host(models={name: Hosted(model)})
    with torch.inference_mode():
        found = operations.time_batched(
            host, name, tokens, CONTEXT, SEQUENCES, repeats=2, steps=steps, warm_ups=1
        )
    assert min(found) > 0.0
    batches = [batch for batch in model.batches if len(batch) > 1]
    assert len(batches) == (1 + len(found)) * steps
    for number, batch in enumerate(batches):
        step = number % steps
        assert [len(rows) for rows in batch] == [tokens] * SEQUENCES
        assert [rows.last for rows in batch] == [tokens] * SEQUENCES
        for rows in batch:
            assert rows.start == CONTEXT + step * tokens
            line = name == TARGET
            positions = range(CONTEXT, CONTEXT + tokens) if line else [CONTEXT + step] * tokens
            assert list(rows.positions) == list(positions)
        held = [slot for rows in batch for slot in rows.held().tolist()]
        assert len(set(held)) == len(held)
        assert min(held) >= CONTEXT + tokens * steps  # where the model that is alone has its own text


@pytest.mark.parametrize("make", [lean, general])
def test_texts_of_a_batch_have_read_their_context_and_the_one_alone_stays(
    make: Callable[[], Decoder],
) -> None:
    """Each says what the model does behind the same tokens alone, before the batch and behind it."""
    model = CachedModel(make())
    hosted = Hosted(model)
    with torch.inference_mode():
        alone = model.read(operations._filler(CONTEXT + 1))[-1]
        model.rewind([*operations._filler(CONTEXT), 0], CONTEXT)
        texts = operations._fill_several(hosted, CONTEXT, SEQUENCES, room=1)
        for text in texts:
            line = operations._filler(CONTEXT + 1)
            assert text.rewind(line, CONTEXT) == (line[-1],)
            torch.testing.assert_close(text.read(line[-1:])[0], alone)
        torch.testing.assert_close(model.read(operations._filler(CONTEXT + 1)[-1:])[0], alone)
