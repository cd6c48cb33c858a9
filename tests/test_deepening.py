"""A deepened target writes and predicts what the plain one does, costs more, and says so wherever figures are shown."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import call
from pydantic import ValidationError
from rich.console import Console
from test_fused_llama import PREFIX, needed, random_llama, read
from test_hardware_check import EFFORT
from tiny_families import save_family
from tiny_models import PROMPTS, TOKENS, own_text, save_tiny, tiny_llama

from calibrate.artifact import Artifact
from calibrate.prompts import Prompt
from calibrate.provenance import others
from calibrate.run import calibrate
from calibrate.summary import describe
from engine.configuration import Configuration
from engine.errors import SpecBranchError
from engine.models.deepening import LAYER, deepened, parameters, remarks
from engine.models.llama import Llama
from engine.models.sampling import GREEDY
from engine.models.specs import ModelSpec
from engine.runtime.loading import load_model
from engine.runtime.pair import open_pair
from engine.runtime.worker_process import Host
from reports.bench.peers import Peer, generate, load, transformers_model
from reports.compare import compare_page
from reports.compare.compare_tables import print_comparisons
from reports.compare.pairing import compare
from reports.page import report
from reports.tables import verified_summary
from reports.verify.plan import Plan
from reports.verify.run import verify
from reports.verify.verification import Verification, load_verification, save_verification
from scenarios.schema import Scenario
from sim.search.grid import Grid
from sim.search.tune import tune
from sim.search.tuned import TunedConfiguration, chosen_depth, load_tuned, other_depth, save_tuned
from sim.sweeps.run import run_scenario

DEPTH = 3
Known = tuple[Artifact, Path, TunedConfiguration, Verification]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    return ModelSpec(source=save_tiny(tmp_path_factory.mktemp("target"), seed=0), precision="float32")


@pytest.fixture(scope="module")
def deep(plain: ModelSpec) -> ModelSpec:
    return plain.model_copy(update={"deepen": DEPTH})


def test_added_blocks_are_copies_with_memory_of_their_own_that_add_nothing() -> None:
    state = tiny_llama(0, layers=2).state_dict()
    made = deepened(state, DEPTH)
    names = [name for name in state if LAYER.match(name)]
    assert len(made) == len(state) + (DEPTH - 1) * len(names)
    for name in names:
        layer, rest = int(name.split(".")[2]), name.split(".", 3)[3]
        blocks = [made[f"model.layers.{DEPTH * layer + i}.{rest}"] for i in range(DEPTH)]
        assert blocks[0] is state[name]
        assert len({block.data_ptr() for block in blocks}) == DEPTH
        for block in blocks[1:]:
            adds = rest in ("self_attn.o_proj.weight", "mlp.down_proj.weight")
            assert torch.equal(block, torch.zeros_like(state[name]) if adds else state[name])
    assert deepened(state, 1) is state


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("general_path", [False, True])
@pytest.mark.parametrize("layers", [2, 6])
def test_logits_and_features_are_the_plain_models(
    tmp_path: Path, precision: Any, general_path: bool, layers: int
) -> None:
    """To the last bit; features of fewer layers than are watched, and of more."""
    tiny_llama(0, layers=layers).save_pretrained(tmp_path)
    spec = ModelSpec(source=str(tmp_path), precision=precision, general_path=general_path)
    models = [load_model(spec.model_copy(update={"deepen": depth})) for depth in (1, DEPTH)]
    for prompt in PROMPTS:
        found = []
        for model in models:
            model.decoder.watch = True
            model.clear()
            line = model.read(prompt)
            branches = model.read_nodes([3, 5], [-1, -1])
            found.append((line, branches, model.decoder.features.clone()))
        for one, other in zip(*found, strict=True):
            assert torch.equal(one, other)


@needed
@pytest.mark.parametrize("layers", [3, 5])
def test_compiled_forwards_are_the_plain_models(layers: int) -> None:
    model = random_llama()
    model.config.num_hidden_layers = layers
    found = []
    for depth in (1, DEPTH):
        state = deepened(model.state_dict(), depth)
        decoder = Llama(model.config, state, torch.bfloat16, capacity=8, blocks=depth)
        assert decoder.fused is not None
        decoder.watch = True
        rows = [read(decoder, PREFIX, 0)]
        for count in (1, 4):
            rows += [read(decoder, PREFIX[:count], len(PREFIX)), decoder.features.clone()]
        found.append(rows)
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


POLICIES = [
    Configuration(policy="autoregressive", placement="in-turn"),
    Configuration(policy="prompt-lookup", placement="in-turn"),
    Configuration(policy="speculative", draft_length=3, placement="in-turn", second_under=0.9),
    Configuration(policy="adaedl", draft_length=3, placement="in-turn"),
    Configuration(policy="pearl", draft_length=3),
    Configuration(policy="specbranch", draft_length=3, branches=3, redraft=True),
    Configuration(policy="specbranch", draft_length=3, branches=3, placement="in-turn"),
]


def test_every_policy_writes_the_plain_models_text(plain: ModelSpec, deep: ModelSpec) -> None:
    """With drafts of the plain one."""
    with open_pair(deep, {"int8": plain.model_copy(update={"bits": 8})}) as (pair, _):
        for configuration in POLICIES:
            run = pair.generate(configuration, PROMPTS[2], max_tokens=TOKENS)
            assert run.tokens == own_text(plain.source, PROMPTS[2])


def test_peers_are_as_deep_and_write_the_same_text(plain: ModelSpec, deep: ModelSpec) -> None:
    host = Host()
    load(host, "target", deep.model_dump(mode="json"))
    assert host.models["target"].model.num_parameters() == parameters(deep)
    for peer in (Peer(), Peer(static_cache=True), Peer(method="prompt-lookup", tokens=3)):
        options = peer.model_dump(mode="json")
        written = generate(host, options, PROMPTS[0], TOKENS, [], GREEDY.model_dump())
        assert tuple(written["tokens"]) == own_text(plain.source, PROMPTS[0])


@pytest.mark.parametrize("tied", [False, True])
def test_parameters_are_those_of_the_model(tmp_path: Path, tied: bool) -> None:
    tiny_llama(0, tied=tied).save_pretrained(tmp_path)
    for depth in (1, DEPTH):
        spec = ModelSpec(source=str(tmp_path), precision="float32", deepen=depth)
        assert parameters(spec) == transformers_model(spec).num_parameters()


def test_other_families_are_refused_in_one_sentence(tmp_path: Path) -> None:
    spec = ModelSpec(source=save_family(tmp_path, "Gemma 3", 0), precision="float32", deepen=2)
    for made in (load_model, transformers_model):
        with pytest.raises(SpecBranchError, match=r"of the gemma3_text family .* leave --deepen out"):
            made(spec)


def test_a_model_without_safetensors_is_refused(tmp_path: Path) -> None:
    model = tiny_llama(0)
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(SpecBranchError, match="has no safetensors"):
        load_model(ModelSpec(source=str(tmp_path), precision="float32", deepen=2))


def test_a_specification_keeps_its_depth_and_drafts_have_none(deep: ModelSpec) -> None:
    assert ModelSpec.model_validate_json(deep.model_dump_json()) == deep
    assert "deepened 3 times" in deep.describe()
    assert remarks(deep.model_copy(update={"deepen": 1})) == ()
    for wrong in ({"bits": 8}, {"distilled": "x"}, {"kept_tokens": "x"}, {"deepen": 0}, {"deepen": 65}):
        with pytest.raises(ValidationError):
            ModelSpec.model_validate({**deep.model_dump(), **wrong})


@pytest.fixture(scope="module")
def known(deep: ModelSpec, tmp_path_factory: pytest.TempPathFactory) -> Known:
    """A deepened pair's calibration and its folder, what was tuned on it, and its verification."""
    folder = tmp_path_factory.mktemp("known")
    target = deep
    draft = ModelSpec(source=save_tiny(folder / "draft", seed=5), precision="float32")
    prompts = [Prompt(f"p{i}", "words", "check", f"w{7 + i} w9 w{20 + i}") for i in range(4)]
    with open_pair(target, {"small": draft}) as (pair, tokenizer):
        made = calibrate(pair, tokenizer, prompts[:2], EFFORT, folder / "calibration")
        found = tune(made, Grid(draft_lengths=(2,), branches=(2,), cuts=(0.0,)), jobs=1)
        tuned = TunedConfiguration.of(found, folder / "calibration", made.digest)
        verified = verify(
            pair, tokenizer, made, tuned, prompts[2:], Plan(EFFORT.tokens, repeats=1)
        ).verification
    return made, folder / "calibration", tuned, verified


def test_whatever_shows_figures_says_what_they_are_of(
    known: Known, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    artifact, folder, tuned, verification = known
    (remark,) = remarks(artifact.recorded.target.spec)
    assert "nothing is claimed about quality" in remark
    said = f"{remark[0].upper()}{remark[1:]}."
    assert remark in describe(artifact)
    assert remark in tuned.notes
    scenario = Scenario.model_validate({"title": "t", "configurations": [{"policy": "autoregressive"}]})
    assert all(remark in outcome.notes for outcome in run_scenario(scenario, artifact))
    assert all(row.mismatches == 0 for row in verification.compared)
    assert verified_summary(verification).startswith(said)
    save_verification(tmp_path / "v.json", verification)
    verification = load_verification(tmp_path / "v.json")
    assert verification.remarks == (remark,)
    html = report.render(verification)
    assert html.count(f'<p class="remark">{said.replace(chr(39), "&#39;")}</p>') == 1
    assert html.index('<p class="remark">') < html.index('class="finding"')
    compared = compare([verification, verification], ["a", "b"])
    assert "small model" in compare_page.render(compared).partition('class="finding"')[0]
    out = Console(file=io.StringIO(), width=2000)
    print_comparisons(out, compared)
    assert isinstance(out.file, io.StringIO)
    assert f"a: {remark}." in out.file.getvalue()
    assert call("inspect", str(folder)) == 0
    assert remark in capsys.readouterr().out


def test_a_calibration_of_another_depth_is_another(
    known: Known,
) -> None:
    costs = known[0].costs
    target, drafts = costs.target.spec, {name: one.spec for name, one in costs.drafts.items()}
    assert list(others(costs, target, drafts)) == []
    plain = target.model_copy(update={"deepen": 1})
    assert list(others(costs, plain, drafts)) == ["a target deepened 3 times"]
    made = costs.model_copy(update={"target": costs.target.model_copy(update={"spec": plain})})
    assert list(others(made, target, drafts)) == ["a target that is not deepened"]


@pytest.mark.parametrize(
    ("chosen", "here", "says"),
    [
        (DEPTH, 1, "made for a target deepened 3 times, and this one is not: give --deepen 3 to run what"),
        (
            DEPTH,
            2,
            "made for a target deepened 3 times, and this one is deepened 2 times: give --deepen 3 to",
        ),
        (
            1,
            DEPTH,
            "made for a target that is not deepened, and this one is deepened 3 times: leave --deepen out",
        ),
        (DEPTH, DEPTH, None),
        (1, 1, None),
    ],
)
def test_a_choice_for_another_depth_says_so(known: Known, chosen: int, here: int, says: str | None) -> None:
    said = other_depth(known[2].model_copy(update={"deepen": chosen}), here)
    assert (says in said) if says and said else said is says


def test_what_an_older_file_was_chosen_for_is_the_calibrations(known: Known, tmp_path: Path) -> None:
    assert known[2].deepen is None
    assert chosen_depth(known[2]) == DEPTH
    assert chosen_depth(known[2].model_copy(update={"calibration": tmp_path})) is None  # it may be gone
    assert other_depth(known[2].model_copy(update={"calibration": tmp_path}), 1) is None


def test_commands_say_once_that_a_choice_was_made_for_another_depth(
    known: Known, plain: ModelSpec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "tuned.yaml"
    assert call("tune", "--calibration", str(known[1]), "--out", str(out)) == 0
    tuned = load_tuned(out)
    assert tuned.deepen == DEPTH
    alone = next(c for c in tuned.baselines if c.policy == "autoregressive")
    save_tuned(out, tuned.model_copy(update={"chosen": alone}))
    capsys.readouterr()
    options = ["--target", plain.source, "--precision", "float32", "--max-tokens", "4", "--config", str(out)]
    for depth, times in ((1, 1), (DEPTH, 0)):
        assert call("generate", "w5 w8", "--deepen", str(depth), *options) == 0
        said = capsys.readouterr()
        assert said.err.count("deepened 3 times") == said.err.count("--deepen 3") == times
    assert call("export", str(out)) == 0
    assert capsys.readouterr().err.count("deepened 3 times") == 1


def test_generate_says_it_too(plain: ModelSpec, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--target", plain.source, "--precision", "float32", "--policy", "autoregressive"]
    options += ["--placement", "in-turn", "--max-tokens", "6", "--json"]
    texts = []
    for depth in (1, DEPTH):
        assert call("generate", "w5 w8", "--deepen", str(depth), *options) == 0
        document = json.loads(capsys.readouterr().out)
        assert document["remarks"] == list(remarks(plain.model_copy(update={"deepen": depth})))
        texts.append(document["text"])
    assert texts[0] == texts[1]
