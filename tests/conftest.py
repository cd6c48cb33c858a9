"""What all tests share: which of them start processes, one thread of PyTorch's, a tiny pair and its calibration."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from calibrate.artifact import load_artifact
from calibrate.costs import operations, remeasure
from calibrate.costs.measurement import SamplingBudget
from calibrate.run import Effort, calibrate
from engine.models.specs import ModelSpec
from engine.runtime import workers
from engine.runtime.pair import Pair

if TYPE_CHECKING:
    from tiny_models import Calibrated

# Files whose tests start models' workers, commands or a browser, or count or train for long; 'make check' leaves them
# out. The longest come first, so that of two processes that run the tests neither has a long file left when the other
# is done.
PROCESSES = (
    "test_benchmark",
    "test_hardware_check",
    "test_losslessness",
    "test_session",
    "test_tune",
    "test_page",
    "test_command_line",
    "test_architectures",
    "test_faults",
    "test_regime_map",
    "test_documented_commands",
    "test_criteria",
    "test_real_pair",
    "test_real_pair_under_load",
    "test_deepening",
    "test_replay_exact",
    "test_regime_page",
    "test_page_access",
    "test_self_check",
    "test_workers",
    "test_hrad_training",
    "test_random_pair",
    "test_verify",
    "test_verify_load",
    "test_stops",
    "test_local_session",
    "test_served_session",
    "test_distill",
    "test_calibrate",
    "test_interleaved",
    "test_temperature",
    "test_paths",
    "test_sim_benchmark",
    "test_audit",
    "test_verbs",
    "test_library",
    "test_wheel",
)

# How long an example takes depends on what else runs here.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def _order(item: pytest.Item) -> int:
    """The longest files first."""
    return PROCESSES.index(item.path.stem) if item.path.stem in PROCESSES else len(PROCESSES)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.stem in PROCESSES:
            item.add_marker(pytest.mark.processes)
    items.sort(key=_order)


@pytest.fixture(scope="session", autouse=True)
def one_thread_of_torch() -> None:
    """In the tests' own process; a worker has as many as its seat. Products as small as these are slower in two."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def workers_wait_asleep() -> Iterator[None]:
    """Workers and their threads leave the cores to each other at once: here more of them are at work than cores."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "SPIN_SECONDS", 0.0)
        if "OMP_WAIT_POLICY" not in os.environ:
            patch.setenv("OMP_WAIT_POLICY", "passive")
        yield


@pytest.fixture(scope="session", autouse=True)
def brief_timings() -> Iterator[None]:
    """What a calibration and a verification time beside the models is small here, as the models are."""
    import brief

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(operations, "visit", brief.visit)
        patch.setattr(operations, "time_reference", brief.time_reference)
        patch.setattr(remeasure, "CONTENTION_SECONDS", 0.01)
        yield


@pytest.fixture
def own_faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tracebacks of what fails go to a folder of the test."""
    monkeypatch.setenv("SPECBRANCH_CACHE", str(tmp_path))


@pytest.fixture(scope="session")
def tiny_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """A tiny target and drafts of it, float32, with workers that tests share: they leave them as they were.

    A worker takes seconds to start, most of it for libraries; what ends or changes one has a pair of its own.
    """
    from tiny_models import save_tiny

    target = ModelSpec(source=save_tiny(tmp_path_factory.mktemp("target"), 0), precision="float32")
    drafts = {name: target.model_copy(update={"bits": bits}) for name, bits in (("near", 4), ("int8", 8))}
    with Pair(target, drafts, cores=(0, 1)) as pair:
        yield pair


@pytest.fixture(scope="session")
def tiny_calibrated(tiny_pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> "Calibrated":
    """The tiny pair with the draft 'near' alone, and its calibration, greedily and at temperature 1."""
    from tiny_models import Calibrated, only, word_prompts

    from engine.models.tokenizer import Tokenizer

    pair, tokenizer = only(tiny_pair, "near"), Tokenizer(tiny_pair.target)
    folder = tmp_path_factory.mktemp("calibration")
    effort = Effort("tiny", 4, 24, SamplingBudget(1, seconds=0.0, together_seconds=0.01), sampled=40)
    calibrate(pair, tokenizer, word_prompts("calibration"), effort, folder)
    return Calibrated(pair, tokenizer, folder, load_artifact(folder))
