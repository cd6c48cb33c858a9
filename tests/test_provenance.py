"""A calibration knows what it is of, and whoever uses it hears what is otherwise here."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from artifacts import artifact
from tiny_models import save_tiny

from calibrate import provenance
from calibrate.cost_records import MeasuredCosts
from calibrate.hardware import hardware, model_digest, software
from calibrate.provenance import others, outdated
from calibrate.records import ModelRecord
from calibrate.revision import engine_revision
from engine.models.specs import ModelSpec
from scenarios.schema import Scenario
from sim.search.tune import Grid, tune
from sim.sweeps.run import run_scenario


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    return ModelSpec(source=save_tiny(tmp_path_factory.mktemp("target"), seed=0))


@pytest.fixture
def costs(spec: ModelSpec) -> MeasuredCosts:
    """Some that were made here and now."""
    record = ModelRecord(spec=spec, sha256=model_digest(spec))
    here = {"hardware": hardware(), "software": software(), "engine_revision": engine_revision()}
    return artifact().costs.model_copy(update={**here, "target": record, "drafts": {"int8": record}})


def test_one_made_here_and_now_is_of_nothing_else(costs: MeasuredCosts, spec: ModelSpec) -> None:
    assert list(others(costs, spec, {"int8": spec})) == []
    assert outdated(costs) == ()


def test_each_thing_that_differs_is_named(costs: MeasuredCosts, spec: ModelSpec) -> None:
    def found(**update: object) -> list[str]:
        return list(others(costs.model_copy(update=update), spec, {"int8": spec}))

    other = ModelRecord(spec=spec, sha256="0" * 64)
    assert found(drafts={"int8": other}) == ["other weights of 'int8'"]
    assert found(target=other) == ["other weights of 'target'"]
    assert found(drafts={"int4": costs.target}) == ["another pair"]
    assert found(hardware=hardware() | {"processor": "Z80"}) == ["another machine (Z80)"]
    assert found(engine_revision="abc") == [f"engine revision abc (here {engine_revision()})"]
    assert found(engine_revision=None) == [f"an engine of unknown revision (here {engine_revision()})"]
    torch = software()["torch"]
    assert found(software=software() | {"torch": "1.0"}) == [f"torch 1.0 (here {torch})"]
    assert found(software=software() | {"system": "another", "simpy": "1"}) == []  # they compute no forward
    assert found(software={}) == []  # nothing is known of it


def test_weights_that_changed_under_a_name_are_found(costs: MeasuredCosts, tmp_path: Path) -> None:
    """The specification is the same, and the file's name is."""
    spec = ModelSpec(source=save_tiny(tmp_path, seed=3))
    record = ModelRecord(spec=spec, sha256=model_digest(spec))
    made = costs.model_copy(update={"target": record, "drafts": {}})
    assert list(others(made, spec, {})) == []
    save_tiny(tmp_path, seed=4)
    (weights,) = tmp_path.glob("*.safetensors")
    os.utime(weights, ns=(1, 1))
    assert list(others(made, spec, {})) == ["other weights of 'target'"]
    weights.unlink()
    (missing,) = others(made, spec, {})
    assert missing.startswith("weights of 'target' that are not here")


def test_a_calibration_from_elsewhere_is_not_called_outdated(costs: MeasuredCosts) -> None:
    other = {"engine_revision": "abc", "software": {"torch": "1.0"}}
    assert outdated(costs.model_copy(update={**other, "hardware": {"processor": "Z80"}})) == ()
    (said,) = outdated(costs.model_copy(update=other))
    assert "engine revision abc" in said
    assert "torch 1.0" in said
    assert "specbranch calibrate --again" in said


def test_predictions_from_another_revision_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    made = artifact(prompts=2, tokens=12)
    update = {"hardware": hardware(), "engine_revision": "then"}
    made = replace(
        made, costs=made.costs.model_copy(update=update), recorded=made.recorded.model_copy(update=update)
    )
    scenario = Scenario.model_validate({"title": "t", "configurations": [{"policy": "autoregressive"}]})
    for revision, said in (("now", True), ("then", False)):
        monkeypatch.setattr(provenance, "engine_revision", lambda here=revision: here)
        (outcome,) = run_scenario(scenario, made)
        assert any("engine revision then (here now)" in note for note in outcome.notes) is said
        notes = tune(made, Grid(policies=("speculative",), drafts=("int8",)), jobs=1).notes
        assert any("engine revision then (here now)" in note for note in notes) is said
