"""A cut head keeps what it keeps, takes in what stands in a prompt, and says nothing else."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.models.cut_head import ROOM, CutHead

KEPT = torch.arange(0, 3000, 3)
PROMPTS = st.lists(st.integers(0, 2999), max_size=60)


@given(st.lists(PROMPTS, min_size=1, max_size=4))
def test_each_prompt_takes_the_place_of_the_one_before(prompts: list[list[int]]) -> None:
    head = CutHead(KEPT, torch.device("cpu"))
    for prompt in prompts:
        new = head.hear(prompt)
        shown = head.tokens[: head.used].tolist()
        assert set(shown) == {*KEPT.tolist(), *prompt}
        assert len(shown) == len(set(shown)) == len(KEPT) + len(new)
        assert shown[: len(KEPT)] == KEPT.tolist()
        logits = head.hide(torch.zeros(2, len(head.tokens)))
        assert logits.isfinite().sum(dim=-1).tolist() == [head.used, head.used]


def test_a_long_prompt_gets_as_many_rows_as_there_are() -> None:
    head = CutHead(KEPT, torch.device("cpu"))
    assert len(head.hear([i for i in range(3000) if i % 3])) == ROOM
    assert head.used == len(head.tokens)
