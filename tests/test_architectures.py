"""Every architecture writes its own text under every policy, or is refused by name.

The reference is always transformers' own forward over the whole text, without a cache, in float32.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from branches import branches, contexts_of, read_branches, with_leaves
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_families import FAMILIES, RECURRENT, WINDOW, save_family, tiny
from tiny_models import PROMPTS, TOKENS, VOCABULARY, own_text

from engine.configuration import Configuration
from engine.errors import ConfigurationError
from engine.models.cached_model import CachedModel
from engine.models.capabilities import position_limit
from engine.models.rows import Rows, row_count
from engine.models.specs import ModelSpec
from engine.models.transformers_model import TransformersModel
from engine.runtime.pair import Pair
from engine.runtime.placement import usable_cores

ROLLING = [family for family in FAMILIES if family not in RECURRENT]
# A family of each way of reading trees and of each kind of mask, tried every time; all are for a landing.
ALWAYS = ("Llama", "Mistral with a window", "Gemma 3", "GPT-2", "BLOOM", "GPT-Neo")
often = pytest.mark.parametrize(
    "family", [pytest.param(one, marks=() if one in ALWAYS else pytest.mark.slow) for one in ROLLING]
)
AIDS: dict[str, Any] = {"draft_length": 4, "second_under": 0.9, "guesses": 2}
WITH_DRAFT = (
    Configuration(policy="speculative", placement="in-turn", draft="other", repeats=6, **AIDS),
    Configuration(policy="adaedl", placement="in-turn", draft="other", draft_length=4),
    Configuration(policy="specbranch", placement="in-turn", draft="other", branches=3, redraft=True, **AIDS),
    Configuration(policy="speculative", placement="at-once", draft="other", draft_length=3),
    Configuration(policy="tree", placement="at-once", draft="other", tree_nodes=9, rank_acceptance="0.4 0.3"),
    Configuration(policy="pearl", placement="at-once", draft="other", **AIDS),
    Configuration(policy="specbranch", placement="at-once", draft="other", branches=3, **AIDS),
)
WITHOUT = (
    Configuration(policy="autoregressive", placement="in-turn"),
    Configuration(policy="prompt-lookup", placement="in-turn", draft_length=4, guesses=2),
)


@often
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_trees_and_rollback_equal_whole_texts(family: str, data: st.DataObject) -> None:
    """Lines with leaves beside them, branches of unequal lengths, and a rewind into any of them."""
    model = tiny(family, 0)
    token = st.integers(0, VOCABULARY - 1)
    prompt = data.draw(st.lists(token, min_size=2, max_size=3 * WINDOW))
    line = data.draw(st.lists(token, min_size=1, max_size=5))
    leaves = data.draw(st.lists(st.tuples(st.integers(0, len(line)), token), max_size=3))

    @torch.inference_mode()
    def expected(*contexts: list[int]) -> torch.Tensor:
        return torch.stack([model(torch.tensor([context])).logits[0, -1] for context in contexts])

    def agree(logits: torch.Tensor, *contexts: list[int]) -> None:
        torch.testing.assert_close(logits, expected(*contexts), atol=2e-4, rtol=1e-3)

    shared = CachedModel(TransformersModel(model))
    unread = shared.rewind(prompt)
    tree = with_leaves(line, leaves)
    agree(shared.read(unread, last=1, tree=tree), prompt, *contexts_of(tree, prompt))
    text = [*data.draw(st.sampled_from([prompt, *contexts_of(tree, prompt)])), 7]
    agree(shared.read(shared.rewind(text), last=1), text)
    written: list[list[int]] = [[], [], []]
    for active in (3, 3, data.draw(st.integers(1, 3))):
        new = [(branch, data.draw(token)) for branch in range(active)]
        logits = read_branches(shared, new)
        for branch, one in new:
            written[branch].append(one)
        agree(logits, *([*text, *written[branch]] for branch, _ in new))
    taken = [*text, *data.draw(st.sampled_from(written)), 9]
    agree(shared.read(shared.rewind(taken), last=1), taken)


@pytest.mark.parametrize("family", ["Llama", "Mistral with a window", "GPT-2", "BLOOM"])
def test_a_long_prompt_is_read_in_parts(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many rows at once as are allowed, and the same in the end."""
    model, prompt = tiny(family, 1), [1 + (7 * i * i + i) % 47 for i in range(50)]
    monkeypatch.setattr("engine.models.reader.MOST_ROWS", 8)
    parts: list[int] = []
    decoder = TransformersModel(model)
    read = decoder.forward

    def noted(batch: Sequence[Rows]) -> torch.Tensor:
        parts.append(row_count(batch))
        return read(batch)

    monkeypatch.setattr(decoder, "forward", noted)
    logits = CachedModel(decoder).read(prompt, last=3, tree=branches((5,), (6,)))
    with torch.inference_mode():
        five, six = (model(torch.tensor([[*prompt, leaf]])).logits[0, -4:] for leaf in (5, 6))
    torch.testing.assert_close(logits, torch.cat([five, six[-1:]]), atol=2e-4, rtol=1e-3)
    assert max(parts) <= 8 + 2
    assert sum(parts) == len(prompt) + 2


def test_positions_stated_and_scaled() -> None:
    """What vLLM allows of the same settings, and no further than a rope stays as it is."""
    import transformers as tf

    def llama(**rope: object) -> tf.LlamaConfig:
        return tf.LlamaConfig(max_position_embeddings=512, rope_parameters={"rope_theta": 1e4, **rope})

    assert position_limit(tf.LlamaConfig(max_position_embeddings=512)) == 512
    assert position_limit(llama(rope_type="linear", factor=4.0)) == 2048
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512}
    assert position_limit(llama(**yarn)) == 2048
    three = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    assert position_limit(llama(**three, original_max_position_embeddings=64)) == 512
    assert position_limit(llama(rope_type="dynamic", factor=2.0)) == 512
    assert position_limit(tf.GPT2Config(n_positions=96)) == 96
    assert position_limit(tf.BloomConfig()) is None
    assert position_limit(tf.MambaConfig()) is None


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where families' targets and drafts are saved, which differ in their weights."""
    return tmp_path_factory.mktemp("families")


@pytest.fixture(scope="module")
def workers() -> Iterator[Pair]:
    """A pair that lends its workers to one family after another."""
    nothing = ModelSpec(source="", precision="float32")
    with Pair(nothing, {}, cores=usable_cores()[:2]) as pair:
        yield pair


def family_pair(workers: Pair, folders: Path, family: str) -> Pair:
    """A target and another draft of one family in the workers that the family before had."""
    from engine.runtime import worker_process

    def spec(seed: int) -> ModelSpec:
        folder = folders / f"{family} {seed}"
        if not folder.exists():
            save_family(folder, family, seed)
        return ModelSpec(source=str(folder), precision="float32")

    for worker in workers._workers.values():
        for model in ("target", "other"):
            worker.call(worker_process.unload, name=model)
    workers._hosted.clear()
    workers.target, workers.drafts = spec(0), {"other": spec(1)}
    return workers


@often
def test_every_policy_writes_the_targets_own_text(family: str, workers: Pair, folders: Path) -> None:
    """In both placements, with a draft that is another model, so that its lines are mostly rejected."""
    pair = family_pair(workers, folders, family)
    prompt = [1 + (7 * i * i + i) % 47 for i in range(3 * WINDOW)]
    text = own_text(pair.target.source, prompt)
    assert len(set(text)) > 2, "a text of one token would prove nothing"
    for configuration in (*WITHOUT, *WITH_DRAFT):
        run = pair.generate(configuration, prompt, max_tokens=TOKENS)
        assert (run.tokens, run.warning) == (text, None), configuration


@pytest.mark.parametrize("family", RECURRENT)
def test_a_recurrent_state_is_right_alone_and_refused_else(family: str, workers: Pair, folders: Path) -> None:
    pair = family_pair(workers, folders, family)
    alone = Configuration(policy="autoregressive", placement="in-turn")
    run = pair.generate(alone, PROMPTS[5], max_tokens=TOKENS)
    assert run.tokens == own_text(pair.target.source, PROMPTS[5])
    for policy in ("prompt-lookup", "speculative", "specbranch"):
        with pytest.raises(ConfigurationError, match=r"recurrent state.*policy autoregressive"):
            pair.generate(Configuration(policy=policy, placement="in-turn"), PROMPTS[5], max_tokens=TOKENS)


@pytest.mark.parametrize("family", ["Llama", "GPT-2"])
def test_a_text_may_reach_the_last_position_and_no_further(family: str, workers: Pair, folders: Path) -> None:
    """What is drafted beyond it is dropped; a longer text is refused before a token is written."""
    pair = family_pair(workers, folders, family)
    prompt = [1 + (7 * i * i + i) % 47 for i in range(256 - 12)]
    for configuration in (*WITHOUT, *WITH_DRAFT):
        run = pair.generate(configuration, prompt, max_tokens=12)
        assert run.tokens == own_text(pair.target.source, prompt, 12)
    with pytest.raises(ConfigurationError, match=r"exceed the 256 positions .* ask for at most 12 tokens"):
        pair.generate(WITHOUT[0], prompt, max_tokens=13)


def test_the_table_of_architectures_is_true() -> None:
    """Every family has its row, which says how it reads trees; the texts above are what it claims."""
    page = (Path(__file__).parent.parent / "docs" / "architectures.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip("| ").split("|")]
        for line in page.splitlines()
        if line[:1] == "|"
    ]
    found = {row[0]: row[1:] for row in rows[2:]}
    for family in FAMILIES:
        able = TransformersModel(tiny(family, 0)).capabilities
        trees = "none" if not able.rolls_back else "one forward" if able.trees else "a forward a row"
        assert found.pop(family) == [trees, "exact", *(["exact" if able.rolls_back else "refused"] * 3)]
    assert not found, "rows of families that no test writes"
