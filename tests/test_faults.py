"""What fails in the middle of a text: a draft costs speed, a target is an error, and no process is left behind."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from table_pair import PROMPT, players, tables
from tiny_models import PROMPTS, TOKENS, own_text, save_tiny

from engine.configuration import Configuration
from engine.errors import OutOfMemory, SpecBranchError, WorkerFailed, WorkerLost
from engine.models.specs import TARGET, ModelSpec
from engine.runtime import worker_process
from engine.runtime.local_session import Local
from engine.runtime.pair import Pair
from engine.runtime.placement import PLACEMENTS, Placement, usable_cores
from engine.runtime.session import Player, generate
from engine.runtime.worker_process import Host
from engine.runtime.workers import Worker

pytestmark = pytest.mark.skipif(len(usable_cores()) < 2, reason="drafting at once needs two cores")
# Each starts processes of its own and ends them: one placement is tried every time, all of them for a landing.
PLACED = [
    pytest.param(placement, marks=() if placement == "in-turn" else pytest.mark.slow)
    for placement in PLACEMENTS
]

ROOT = Path(__file__).parent.parent
SECONDS = 60.0


DRAFT, VERIFY = worker_process.draft, worker_process.verify


def draft_until_memory_ends(host: Host, base: int, **arguments: Any) -> Any:
    if base > len(PROMPTS[0]):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")
    return DRAFT(host, base=base, **arguments)


def verify_until_memory_ends(host: Host, base: int, **arguments: Any) -> Any:
    if base > len(PROMPTS[0]):
        raise MemoryError
    return VERIFY(host, base=base, **arguments)


def draft_for_ever(host: Host, base: int, **arguments: Any) -> Any:
    if base > len(PROMPTS[0]):
        time.sleep(SECONDS)
    return DRAFT(host, base=base, **arguments)


def draft_until_it_fails(host: Host, base: int, **arguments: Any) -> Any:
    if base > len(PROMPTS[0]):
        raise ValueError("too many values to unpack (expected 2)\nand more of it")
    return DRAFT(host, base=base, **arguments)


def verify_until_it_fails(host: Host, base: int, **arguments: Any) -> Any:
    if base > len(PROMPTS[0]):
        raise ValueError("too many values to unpack (expected 2)\nand more of it")
    return VERIFY(host, base=base, **arguments)


def let_jobs_be(host: Host, names: dict[str, str]) -> None:
    """In a worker whose models take turns, and which runs the policy itself, jobs are these functions."""
    for job, name in names.items():
        setattr(worker_process, job, globals()[name])


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny(tmp_path_factory.mktemp("target"), seed=0)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny(tmp_path_factory.mktemp("other"), seed=5)


@pytest.fixture
def faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where tracebacks are kept."""
    monkeypatch.setenv("SPECBRANCH_CACHE", str(tmp_path))
    return tmp_path / "faults"


@pytest.fixture
def pair(target: str, other: str, faults: Path) -> Iterator[Pair]:
    spec = ModelSpec(source=target, precision="float32")
    draft = spec.model_copy(update={"source": other})
    with Pair(spec, {"other": draft}, cores=usable_cores()[:2]) as pair:
        yield pair


def configuration(placement: Placement) -> Configuration:
    return Configuration(policy="specbranch", draft_length=4, branches=2, placement=placement)


@pytest.mark.parametrize("placement", PLACED)
def test_a_draft_out_of_memory_costs_nothing_but_speed(
    pair: Pair, target: str, placement: Placement, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, drafter = pair.players(placement, "other")
    assert drafter is not None
    heard: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(worker_process, "draft", draft_until_memory_ends)
        drafter.worker.call(let_jobs_be, names={"draft": "draft_until_memory_ends"})
        run = pair.generate(configuration(placement), PROMPTS[0], max_tokens=TOKENS, on_text=heard.extend)
    assert run.tokens == tuple(heard) == own_text(target, PROMPTS[0])
    assert run.warning is not None
    assert "ran out of memory" in run.warning
    assert "went on alone" in run.warning
    assert 0 < sum(job.model == "draft" for job in run.jobs) < len(run.rounds)
    assert drafter.worker.process.is_alive() == (placement != "at-once")
    if placement != "at-once":
        drafter.worker.call(let_jobs_be, names={"draft": "DRAFT"})
    again = pair.generate(configuration(placement), PROMPTS[0], max_tokens=TOKENS)
    assert (again.tokens, again.warning) == (run.tokens, None)


@pytest.mark.parametrize("placement", PLACED)
def test_a_target_out_of_memory_is_an_error_and_leaves_no_process(
    pair: Pair, placement: Placement, monkeypatch: pytest.MonkeyPatch
) -> None:
    players = pair.players(placement, "other")
    monkeypatch.setattr(worker_process, "verify", verify_until_memory_ends)
    players[0].worker.call(let_jobs_be, names={"verify": "verify_until_memory_ends"})
    with pair, pytest.raises(OutOfMemory, match="the target worker ran out of memory"):
        pair.generate(configuration(placement), PROMPTS[0], max_tokens=TOKENS)
    assert not any(player.worker.process.is_alive() for player in players if player)


def write_in_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pair, "_link", lambda self, target, drafter: False)
    monkeypatch.setattr("engine.runtime.pair.generate_there", None)


@pytest.mark.parametrize(
    "driver", [False, True], ids=["policy in the target's worker", "policy in the driver"]
)
@pytest.mark.parametrize("placement", PLACED)
def test_a_draft_that_fails_costs_nothing_but_speed(
    pair: Pair,
    target: str,
    faults: Path,
    placement: Placement,
    driver: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once it has, it is not asked again in this text; and it is loaded anew for the next."""
    if driver:
        write_in_the_driver(monkeypatch)
    _, drafter = pair.players(placement, "other")
    assert drafter is not None
    heard: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(worker_process, "draft", draft_until_it_fails)
        drafter.worker.call(let_jobs_be, names={"draft": "draft_until_it_fails"})
        run = pair.generate(configuration(placement), PROMPTS[0], max_tokens=TOKENS, on_text=heard.extend)
    assert run.tokens == tuple(heard) == own_text(target, PROMPTS[0])
    told = re.fullmatch(
        r"the target went on alone after \d+ tokens: while drafting, the \w+( thread)? worker failed "
        r"\(ValueError: too many values to unpack \(expected 2\); its traceback is in (.*\.log)\)\.",
        run.warning or "",
    )
    assert told is not None, run.warning
    assert list(faults.iterdir()) == [Path(told[2])]
    assert "in draft_until_it_fails" in Path(told[2]).read_text()
    assert 0 < sum(job.model == "draft" for job in run.jobs) < len(run.rounds)
    assert drafter.worker.process.is_alive() == (placement != "at-once")
    if placement != "at-once":
        assert drafter.worker.call(hosted) == ([TARGET] if placement == "in-turn" else [])
        drafter.worker.call(let_jobs_be, names={"draft": "DRAFT"})
    again = pair.generate(configuration(placement), PROMPTS[0], max_tokens=TOKENS)
    assert (again.tokens, again.warning) == (run.tokens, None)


def hosted(host: Host) -> list[str]:
    return list(host.models)


@pytest.mark.parametrize("placement", PLACED)
def test_a_target_that_fails_is_an_error_and_is_loaded_anew(
    pair: Pair, target: str, faults: Path, placement: Placement, monkeypatch: pytest.MonkeyPatch
) -> None:
    players = pair.players(placement, "other")
    players[0].worker.call(let_jobs_be, names={"verify": "verify_until_it_fails"})
    with pytest.raises(
        WorkerFailed, match=r"^the target worker failed \(ValueError: too many values to unpack"
    ):
        pair.generate(configuration(placement), PROMPTS[0], max_tokens=TOKENS)
    assert len(list(faults.iterdir())) == 1
    assert not players[0].worker.process.is_alive()
    again = pair.generate(configuration(placement), PROMPTS[0], max_tokens=TOKENS)
    assert again.tokens == own_text(target, PROMPTS[0])


class Strange(Exception):
    """Whose message cannot be had."""

    def __str__(self) -> str:
        raise TypeError("no message")


def raising(error: Exception) -> Callable[[], Any]:
    def fail() -> None:
        raise error

    return fail


DRAFTS_FAULTS: dict[str, Callable[[], Any]] = {
    "an error without words": raising(ValueError()),
    "an assertion": raising(AssertionError("shapes")),
    "an error without a message to be had": raising(Strange()),
    "an end of something": raising(StopIteration()),
    "a closed pipe of its own": raising(BrokenPipeError("elsewhere")),
    "memory": raising(MemoryError()),
    "a refusal": raising(SpecBranchError("this draft reads no more than 12 tokens.")),
    "no draft": lambda: 5,
    "nothing": lambda: None,
    "half a draft": lambda: ([([1], [0.5], [None])], 1),
    "an array": lambda: ([(torch.ones(2), 0.5, None)], 1, 1),
}


def in_turn() -> tuple[Player, Player]:
    """Models by tables in one worker, as the target's sees them."""
    target, draft = players(*tables(seed=7))
    host = cast(Any, target.worker).host
    host.models |= cast(Any, draft.worker).host.models
    here = cast(Worker, Local(host))
    return Player(here, "target"), Player(here, "draft")


@pytest.mark.parametrize("fault", DRAFTS_FAULTS)
@pytest.mark.parametrize("policy", ["speculative", "pearl", "specbranch"])
@pytest.mark.parametrize("good", [0, 1, 3], ids=lambda good: f"{good} drafts before")
def test_whatever_a_draft_answers_is_no_end_of_a_text(
    faults: Path, fault: str, policy: str, good: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for its refusal of a text of which nothing is written yet, which is for the user to hear."""
    alone = generate(Configuration(policy="autoregressive"), in_turn()[0], None, PROMPT, max_tokens=30)
    asked = 0

    def draft(host: Host, **arguments: Any) -> Any:
        nonlocal asked
        asked += 1
        return DRAFT(host, **arguments) if asked <= good else DRAFTS_FAULTS[fault]()

    monkeypatch.setattr(worker_process, "draft", draft)
    both = in_turn()
    settings = Configuration(policy=policy, draft_length=2, branches=2)
    if fault == "a refusal" and not good:
        with pytest.raises(SpecBranchError, match=r"^this draft reads no more than 12 tokens\.$"):
            generate(settings, *both, PROMPT, max_tokens=30)
        return
    run = generate(settings, *both, PROMPT, max_tokens=30)
    assert run.tokens == alone.tokens
    assert run.warning is not None
    assert re.fullmatch(r"the target went on alone after \d+ tokens: while drafting, .*\.", run.warning)
    assert asked <= good + 2  # what it was asked before it was known to fail
    assert list(cast(Any, both[0].worker).host.models) == ["target"]
    assert (".log)" in run.warning) == (fault not in ("memory", "a refusal"))


@pytest.mark.parametrize("placement", [one for one in PLACED if one.values != ("at-once",)])
def test_the_death_of_a_process_with_both_models_is_an_error(
    pair: Pair, target: str, placement: Placement
) -> None:
    players = pair.players(placement, "other")
    process = players[0].worker.process

    def kill(tokens: object) -> None:
        assert process.pid
        os.kill(process.pid, signal.SIGKILL)
        process.join()

    with pytest.raises(WorkerLost, match=r"worker (died|is gone)"):
        pair.generate(configuration(placement), PROMPTS[0], max_tokens=TOKENS, on_text=kill)
    assert all(player.worker.lost for player in players if player)
    again = pair.generate(configuration(placement), PROMPTS[0], max_tokens=TOKENS)
    assert again.tokens == own_text(target, PROMPTS[0])


@pytest.mark.slow
def test_a_hung_thread_beside_the_target_is_an_error(
    pair: Pair, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the end of its process, which cannot be rid of it; the next text has another one.

    The process gives signs of life all the time, so it is found by how long it has been at one job.
    """
    monkeypatch.setattr("engine.runtime.workers.BEAT_SECONDS", 0.1)
    _, drafter = pair.players("threads", "other")
    assert drafter is not None
    drafter.worker.call(let_jobs_be, names={"draft": "draft_for_ever"})
    drafter.worker.call(limit_jobs, seconds=1.0)
    with monkeypatch.context() as patch:
        patch.setattr(worker_process, "draft", draft_for_ever)
        with pytest.raises(WorkerLost, match=r"has been at one job for 1 s\. It hosted target and draft"):
            pair.generate(configuration("threads"), PROMPTS[0], max_tokens=TOKENS)
    assert not drafter.worker.process.is_alive()
    again = pair.generate(configuration("threads"), PROMPTS[0], max_tokens=TOKENS)
    assert again.tokens == own_text(target, PROMPTS[0])


def limit_jobs(host: Host, seconds: float) -> None:
    """In a worker that runs the policy itself."""
    vars(import_module("engine.runtime.session"))["JOB_SECONDS"] = seconds


def members(session: int) -> list[str]:
    """The command lines of a session's processes, but for those that have ended."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, theirs = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(theirs) == session and state != "Z":
                found.append((folder / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
@pytest.mark.parametrize("moment", [pytest.param("starting", marks=pytest.mark.slow), "writing"])
@pytest.mark.parametrize("placement", PLACED)
def test_an_interrupt_ends_everything(target: str, other: str, placement: Placement, moment: str) -> None:
    command = [sys.executable, str(ROOT / "specbranch.py"), "generate", "w5 w8", "--placement", placement]
    command += [
        "--target",
        target,
        "--draft-model",
        other,
        "--precision",
        "float32",
        "--max-tokens",
        "2000",
    ]
    driver = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        cwd=ROOT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert driver.stdout is not None
    try:
        if moment == "writing":
            assert driver.stdout.read(20)
            assert len(members(driver.pid)) >= (3 if placement == "at-once" else 2)
        else:
            until = time.monotonic() + SECONDS
            while not any("forkserver" in line or "spawn_main" in line for line in members(driver.pid)):
                assert time.monotonic() < until
                assert driver.poll() is None
                time.sleep(0.01)
        os.killpg(driver.pid, signal.SIGINT)
        _, errors = driver.communicate(timeout=SECONDS)
        assert driver.returncode == 130, errors
        assert b"Traceback" not in errors
        until = time.monotonic() + SECONDS
        while members(driver.pid):
            assert time.monotonic() < until, members(driver.pid)
            time.sleep(0.05)
    finally:
        if driver.poll() is None or members(driver.pid):
            os.killpg(driver.pid, signal.SIGKILL)


@pytest.mark.slow
def test_nothing_depends_on_interrupts(target: str, other: str) -> None:
    """Shells without job control start what runs in the background with interrupts ignored, and it stays so."""
    command = [sys.executable, str(ROOT / "specbranch.py"), "generate", "w5 w8", "--placement", "in-turn"]
    command += ["--target", target, "--draft-model", other, "--precision", "float32", "--max-tokens", "64"]
    done = subprocess.run(
        ["/bin/sh", "-c", 'trap "" INT; "$@" & wait $!', "sh", *command],
        capture_output=True,
        timeout=5 * SECONDS,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
