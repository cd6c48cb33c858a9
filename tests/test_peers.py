"""The peers are transformers as it is, with the very weights that our drafts compute with."""

import pytest
import torch
from tiny_models import PROMPTS, TOKENS, own_text, tiny_llama

from engine.drafts.distilled import save_distilled
from engine.models.sampling import GREEDY, Sampling
from engine.models.specs import TARGET, ModelSpec
from engine.runtime.loading import load_model
from engine.runtime.worker_process import Host
from reports.bench.peers import Peer, generate, load, transformers_model

DRAFTS = ("same", "int8", "int4", "distilled")


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModelSpec]:
    """A target with a tied head, and drafts made of it as the default pair's are."""
    folder = tmp_path_factory.mktemp("model")
    target, draft = tiny_llama(0, tied=True), tiny_llama(1, layers=1, tied=True)
    target.save_pretrained(folder)
    own = {k: v for k, v in draft.state_dict().items() if "embed" not in k and "lm_head" not in k}
    file = folder / "draft.safetensors"
    save_distilled(file, own, torch.arange(0, 48, 3), target.state_dict(), {})
    same = ModelSpec(source=str(folder), precision="float32")
    return {
        TARGET: same,
        "same": same,
        "int8": same.model_copy(update={"bits": 8}),
        "int4": same.model_copy(update={"bits": 4}),
        "distilled": same.model_copy(update={"bits": 8, "distilled": str(file)}),
    }


@pytest.fixture(scope="module")
def host(specs: dict[str, ModelSpec]) -> Host:
    host = Host()
    for name, spec in specs.items():
        load(host, name, spec.model_dump(mode="json"))
    return host


@torch.inference_mode()
@pytest.mark.parametrize("name", DRAFTS)
def test_a_draft_scores_as_ours_does(specs: dict[str, ModelSpec], name: str) -> None:
    ours, theirs = load_model(specs[name]), transformers_model(specs[name])
    mine = ours.read(PROMPTS[3])
    scores = theirs(torch.tensor([PROMPTS[3]])).logits[0]
    if name == "distilled":
        kept = ours.reader.token_ids(range(int(mine[0].isfinite().sum())))
        others = [token for token in range(48) if token not in kept]
        assert (scores[:, others] == float("-inf")).all()
        scores, mine = scores[:, kept], mine[:, : len(kept)]
    torch.testing.assert_close(scores, mine, rtol=1e-4, atol=1e-4)


PEERS = [
    Peer(),
    Peer(attention="eager"),
    Peer(static_cache=True),
    Peer(method="prompt-lookup", tokens=3),
    Peer(method="prompt-lookup", tokens=4, longest_match=3),
    *(Peer(method="assisted", draft=draft, tokens=3, min_confidence=0.0) for draft in DRAFTS),
    Peer(method="assisted", draft="int4"),
    Peer(method="assisted", draft="distilled", tokens=4, schedule="heuristic"),
]


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.label())
def test_a_peer_writes_the_targets_text_and_as_much_as_it_is_asked(
    host: Host, specs: dict[str, ModelSpec], peer: Peer
) -> None:
    def write(sampling: Sampling, ends: list[int]) -> list[int]:
        written = generate(
            host, peer.model_dump(mode="json"), PROMPTS[0], TOKENS, ends, sampling.model_dump()
        )
        assert written["seconds"] > 0
        tokens: list[int] = written["tokens"]
        return tokens

    text = own_text(specs[TARGET].source, PROMPTS[0])
    assert tuple(write(GREEDY, [])) == text
    end = text[9]
    assert tuple(write(GREEDY, [end])) == own_text(specs[TARGET].source, PROMPTS[0], end=end)
    drawn = write(Sampling(temperature=1.0, seed=3), [])
    assert len(drawn) == TOKENS
    assert drawn == write(Sampling(temperature=1.0, seed=3), [])
