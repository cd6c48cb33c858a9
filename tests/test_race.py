"""A race of serving engines: who is asked what in which turn, what its figures are, and the lines that rivals speak."""

import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from commands import refusal
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import SpecBranchError
from engine.models.specs import ModelSpec
from reports.race import environments
from reports.race.benchmark import (
    LoadBenchmark,
    Part,
    Plan,
    Race,
    Speeds,
    asked,
    load_record,
    save_record,
    share_alike,
)
from reports.race.environments import Rival, environment
from reports.race.limits import multiply_rate, read_bandwidth
from reports.race.process import Answer, RivalProcess
from reports.race.tables import markdown, verdicts

PROMPTS = [[number] for number in range(5)]


@dataclass
class Timed:
    """Takes `seconds` (users, draft tokens) for a load; from its call `fails_at` on it fails, or if it is to draft more
    than `most`."""

    title: str
    seconds: Callable[[int, int], float]
    ours: bool = False
    fails_at: int = 10**9
    most: int = 10**9
    calls: list[tuple[tuple[int, ...], int]] = field(default_factory=list)
    kept: list[set[int]] = field(default_factory=list)

    @property
    def version(self) -> str:
        return f"{self.title} 1"

    def serve(self, prompts: Sequence[Sequence[int]], tokens: int, draft_tokens: int) -> Answer:
        self.calls.append((tuple(prompt[0] for prompt in prompts), draft_tokens))
        if len(self.calls) > self.fails_at or draft_tokens > self.most:
            raise SpecBranchError(f"{self.title} ended.")
        texts = tuple((prompt[0],) * tokens for prompt in prompts)
        return Answer(texts, self.seconds(len(prompts), draft_tokens), 1.0 + draft_tokens)

    def keep(self, lengths: Collection[int]) -> None:
        self.kept.append(set(lengths))


def race(*contestants: Timed, plan: Plan) -> tuple[list[Speeds], Race]:
    found = Race(contestants, PROMPTS, plan, lambda what, done, total: None, rest=0.0)
    return found.run(), found


def part(speeds: Sequence[Speeds], **more: object) -> Part:
    made = {
        "title": "A pair",
        "command": "specbranch bench-load",
        "speeds": tuple(speeds),
        "tried": (),
        "missing": (),
        "bandwidths": (2e9, 4e9),
        "products": 2e10,
        "target_parameters": 5 * 10**8,
        "draft_parameters": 5 * 10**7,
    }
    return Part.model_validate(made | more)


def test_all_are_asked_for_the_same_and_the_fastest_draft_length_is_chosen_by_load() -> None:
    """Ours is fastest with 4 tokens alone and with none for two; the rival always with 2."""
    ours = Timed("ours", lambda users, length: 1.0 + abs(length - (4 if users == 1 else 0)), ours=True)
    theirs = Timed("theirs", lambda users, length: 2.0 + abs(length - 2))
    plan = Plan(users=(1, 2), tokens=8, rounds=3, lengths=(0, 2, 4))
    speeds, run = race(ours, theirs, plan=plan)
    lengths = {(one.engine, one.users): one.draft_tokens for one in speeds}
    assert lengths == {("ours", 1): 4, ("ours", 2): 0, ("theirs", 1): 2, ("theirs", 2): 2}
    assert (ours.kept, theirs.kept) == ([{0, 4}], [{2}])
    assert len(run.tried) == 2 * 2 * 3
    tries = 2 * len(plan.users) * len(plan.lengths)  # each warmed up
    assert [prompts for prompts, _ in ours.calls] == [prompts for prompts, _ in theirs.calls]
    assert [prompts for prompts, _ in ours.calls[tries:]] == [(1,), (2, 3), (2,), (4, 0), (3,), (1, 2)]
    one = speeds[0]
    assert (one.tokens, one.seconds, one.tokens_per_second, one.alike) == (8, (1.0,) * 3, 8.0, 1.0)
    assert one.accepted_length == 5.0


def test_whoever_serves_first_changes_from_load_to_load() -> None:
    order: list[str] = []

    def timed(title: str) -> Timed:
        def seconds(users: int, length: int) -> float:
            order.append(title)
            return 1.0

        return Timed(title, seconds, ours=title == "a")

    race(timed("a"), timed("b"), timed("c"), plan=Plan(users=(1,), tokens=1, rounds=3))
    assert order[6:] == [*"abc", *"bca", *"cab"]


@pytest.mark.parametrize("fails_at", [0, 3])
def test_a_rival_that_fails_drops_out(fails_at: int) -> None:
    """Before the race or in it; its figures are not shown, and why stands in the record."""
    theirs = Timed("theirs", lambda users, length: 1.0, fails_at=fails_at)
    speeds, run = race(
        Timed("ours", lambda users, length: 1.0, ours=True), theirs, plan=Plan(users=(1,), tokens=2, rounds=4)
    )
    assert [one.engine for one in speeds] == ["ours"]
    assert run.missing == ["theirs ended."]
    assert len(theirs.calls) == fails_at + 1
    assert theirs.kept[-1] == set()
    assert list(verdicts(part(speeds))) == []


def test_a_draft_length_that_fails_is_left_out() -> None:
    """As where memory lacks for one more process; the rival races with what it could serve."""
    theirs = Timed("theirs", lambda users, length: 1.0 / (1 + length), most=2)
    ours = Timed("ours", lambda users, length: 1.0, ours=True)
    speeds, run = race(ours, theirs, plan=Plan(users=(1,), tokens=2, rounds=1, lengths=(0, 2, 4)))
    assert [(one.engine, one.draft_tokens) for one in speeds] == [("ours", 0), ("theirs", 2)]
    assert run.missing == ["theirs ended. It was to draft 4 tokens."]
    assert {length for title, _, length, _ in run.tried if title == "theirs"} == {0, 2}


def test_ours_failing_is_no_race() -> None:
    with pytest.raises(SpecBranchError, match="ours ended"):
        race(Timed("ours", lambda users, length: 1.0, ours=True, fails_at=2), plan=Plan(users=(1,), rounds=4))


def speeds(
    engine: str, *seconds: float, ours: bool = False, length: int = 0, accepted: float = 1.0
) -> Speeds:
    return Speeds(
        engine=engine,
        version=engine,
        users=4,
        draft_tokens=length,
        tokens=100,
        seconds=seconds,
        accepted_length=accepted if ours else None,
        ours=ours,
    )


def test_the_better_rival_counts() -> None:
    """By rounds that are all alike, a ratio has no width; the aim is reached at 1.25 exactly."""
    ours = speeds("ours", 1.0, 1.0, 1.0, ours=True)
    slow, fast = speeds("slow", 2.0, 2.0, 2.0), speeds("fast", 1.25, 1.25, 1.25)
    made = part([ours, slow, fast])
    better = made.against(ours)
    assert better is not None
    assert (better[0], better[1].value) == ("fast", 1.25)
    assert list(verdicts(made)) == [
        "- 4 requests, ours: 1.25 (1.25 to 1.25) times fast; the aim of 1.25 is reached."
    ]
    (line,) = verdicts(part([ours, slow.model_copy(update={"seconds": (1.2, 1.2, 1.2)})]))
    assert line.endswith("missed.")
    (line,) = verdicts(part([ours, slow.model_copy(update={"seconds": (1.0, 1.3, 1.5)})]))
    assert line.endswith("not told.")


def test_the_limit_reads_weights_once_a_step() -> None:
    """At 3 GB/s a target of 1 GB makes 3 steps a second; with 5 tokens drafted by 0.1 GB each, 2 rounds.

    Its 500 million weights are multiplied by each row: those of 4 requests 10 times a second, at 20 billion.
    """
    assert part([]).limits(speeds("ours", 1.0, ours=True)) == pytest.approx((4 * 3.0, 4 * 10.0))
    drafted = speeds("ours", 1.0, ours=True, length=5, accepted=3.5)
    assert part([]).limits(drafted) == pytest.approx((4 * 3.5 * 2.0, 3.5 * 20.0 / 3.25))
    assert part([]).limits(speeds("theirs", 1.0, length=5)) is None


@given(st.integers(1, 20), st.integers(1, 9), st.integers(0, 7))
def test_rounds_take_prompts_in_turn(count: int, users: int, number: int) -> None:
    prompts = [[place] for place in range(count)]
    following = [one for earlier in range(number + 1) for one in asked(prompts, users, earlier)]
    assert following == [[place % count] for place in range(users * (number + 1))]


def test_what_is_alike_ends_at_the_first_difference() -> None:
    assert share_alike([(1, 2, 3, 4)], [(1, 2, 9, 4)]) == 0.5
    assert share_alike([(1, 2), (5, 6)], [(1, 2), (4, 6)]) == 0.5


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    ours, theirs = speeds("ours", 1.0, 1.1, ours=True), speeds("theirs", 2.0, 2.1)
    hardware = {"processor": "a processor", "cores": "2"}
    made = part([ours, theirs], missing=("vLLM could not be installed.",), tried=(("ours", 4, 0, 9.0),))
    record = LoadBenchmark(hardware=hardware, max_tokens=64, parts={"plain": made})
    path = tmp_path / "record.json"
    assert load_record(path) is None
    save_record(path, record)
    assert load_record(path) == record
    shown = markdown(record)
    assert "| 4 | theirs | 49 (48 to 50) | 1.95 (" in shown
    assert "`specbranch bench-load`, 2 rounds." in shown
    assert "vLLM could not be installed." in shown
    path.write_text("{}")
    with pytest.raises(SpecBranchError, match="no record of 'bench-load'"):
        load_record(path)


def options(folder: Path) -> dict[str, object]:
    return {"model": str(folder), "draft": None, "cores": [0], "requests": 2, "places": 9, "draft_tokens": 0}


def test_a_rival_answers_line_by_line(tmp_path: Path) -> None:
    """Of an engine that repeats prompts' last tokens; what it prints elsewhere is no line."""
    with RivalProcess(Path(sys.executable), "echo", options(tmp_path), tmp_path / "log") as rival:
        assert rival.title.startswith("echo ")
        for _ in range(2):
            answer = rival.serve([[1, 2], [3]], 3)
            assert answer.texts == ((2, 2, 2), (3, 3, 3))
            assert 0.0 <= answer.seconds < 60.0


def test_a_rival_that_does_not_load_says_why(tmp_path: Path) -> None:
    with pytest.raises(SpecBranchError, match=r"echo failed \(FileNotFoundError: there is no folder .*gone"):
        RivalProcess(Path(sys.executable), "echo", options(tmp_path / "gone"), tmp_path / "log")


def test_a_rival_that_has_ended_is_told(tmp_path: Path) -> None:
    rival = RivalProcess(Path(sys.executable), "echo", options(tmp_path), tmp_path / "log")
    rival.close()
    with pytest.raises((SpecBranchError, ValueError)):
        rival.serve([[1]], 1)


def test_an_environment_is_made_once_and_again_when_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[Sequence[str]] = []

    def run(command: Sequence[str], log: Path, failed: str) -> str:
        commands.append(command)
        (tmp_path / "one").mkdir(exist_ok=True)
        return "numpy\nfilelock>=3\n"

    monkeypatch.setattr(environments, "_run", run)
    rival = Rival("one", "One", (("a==1",),), requirements_of="a")
    for _ in range(2):
        assert environment(rival, tmp_path, lambda what: None) == tmp_path / "one" / "bin" / "python"
    assert [command[-1] for command in commands[:1]] == [str(tmp_path / "one")]
    assert list(commands[1][-1:]) == ["a==1"]
    assert list(commands[3][-2:]) == ["numpy", "filelock>=3"]
    made = len(commands)
    environment(Rival("one", "One", (("a==2",),), requirements_of="a"), tmp_path, lambda what: None)
    assert len(commands) == 2 * made


def test_an_environment_that_cannot_be_made_is_said_in_a_sentence(tmp_path: Path) -> None:
    rival = Rival("one", "One", (("--no-such-option",),))
    with pytest.raises(
        SpecBranchError, match=r"^One could not be installed \(.*\); see .*one-install.log\.$"
    ):
        environment(rival, tmp_path, lambda what: None)


def test_models_are_made_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "config.json").write_text("{}")
    spec, python = ModelSpec(source=str(source)), tmp_path / "python"
    plain, exported = Rival("plain", "Plain", ()), Rival("other", "Other", (), exported=True)
    assert environments.model_for(plain, spec, tmp_path, python, lambda what: None) == source

    def fail(command: Sequence[str], log: Path, failed: str) -> str:
        Path(command[-1]).mkdir()
        raise SpecBranchError(f"{failed}.")

    monkeypatch.setattr(environments, "_run", fail)
    with pytest.raises(SpecBranchError, match="source could not be exported for Other"):
        environments.model_for(exported, spec, tmp_path, python, lambda what: None)

    def export(command: Sequence[str], log: Path, failed: str) -> str:
        Path(command[-1]).mkdir()
        return ""

    monkeypatch.setattr(environments, "_run", export)
    made = environments.model_for(exported, spec, tmp_path, python, lambda what: None)
    assert (made.name, made.is_dir()) == ("source-other", True)


def test_memory_and_products_have_some_speed() -> None:
    assert 1e8 < read_bandwidth(1) < 1e12
    assert 1e8 < (multiply_rate(2) or 1e9) < 1e13


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--rivals", "vlm"], "there is no rival 'vlm'; did you mean 'vllm'?"),
        (["--at-once", "1,x"], "--at-once takes whole numbers from 1 on"),
        (["--at-once", "0"], "--at-once takes whole numbers from 1 on"),
        (["--deepen", "2", "--lengths", "-1"], "--lengths takes whole numbers from 0 on"),
    ],
)
def test_wrong_options_are_refused_before_a_model_is_loaded(given: list[str], said: str) -> None:
    assert said in refusal("bench-load", *given)
