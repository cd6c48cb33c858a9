"""The verbs as help and shell show them: an order, one meaning for each flag, examples, completion."""

import itertools
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from artifacts import artifact
from commands import ROOT, refusal, specbranch
from typer.main import get_command

import specbranch as command_line
from calibrate.artifact import save_artifact
from engine import command_line as options
from engine.policies import policy_names
from scenarios import shipped
from scenarios.schema import load_scenarios
from sim.search.exports import SYSTEMS
from sim.search.objectives import OBJECTIVES

CLI: Any = get_command(command_line.app)
# Flags whose help says what is peculiar to a verb: what it writes, counts, reads or takes for granted.
PECULIAR = {
    *("--out", "--calibration", "--draft", "--prompts", "--max-tokens", "--temperature"),
    *("--objective", "--samples"),
}
ELSEWHERE = {
    ("export", "--draft-model"),  # a name in another system
    ("count-ngrams", "--target"),  # a folder alone
}


def flags(verb: str) -> dict[str, Any]:
    """A verb's flags in its order."""
    return {p.opts[0]: p for p in CLI.commands[verb].params if p.opts[0].startswith("--")}


def examples(verb: str) -> list[str]:
    heading, *given = CLI.commands[verb].epilog.split("\n\n")
    assert heading == "For example:"
    return list(given)


def test_every_verb_has_one_place_and_five_come_first() -> None:
    places = [name for names in command_line.PANELS.values() for name in names]
    assert sorted(places) == sorted(CLI.commands)
    assert CLI.list_commands(None) == places
    shown = specbranch("--help").stdout
    at = [shown.index(f" {heading} ") for heading in command_line.PANELS]
    assert at == sorted(at)
    assert re.findall(r"│ ([a-z][a-z-]*)  ", shown) == places
    assert places[:5] == ["calibrate", "tune", "verify", "report", "simulate"]


def test_the_version_is_the_installed_one() -> None:
    shown = specbranch("--version")
    assert (shown.returncode, shown.stdout) == (0, f"{version('specbranch-lab')}\n")


def test_a_flag_means_the_same_in_every_verb() -> None:
    meanings: dict[str, set[tuple[str, ...]]] = {}
    for verb in CLI.commands:
        for name, flag in flags(verb).items():
            if name not in PECULIAR and (verb, name) not in ELSEWHERE:
                meanings.setdefault(name, set()).add((*flag.opts, flag.help or ""))
    assert {name: said for name, said in meanings.items() if len(said) > 1} == {}


def test_every_flag_says_what_it_is() -> None:
    silent = [(verb, name) for verb in CLI.commands for name, flag in flags(verb).items() if not flag.help]
    assert silent == []


def test_shared_flags_come_in_one_order() -> None:
    for one, other in itertools.combinations(CLI.commands, 2):
        mine, theirs = flags(one), flags(other)
        assert [f for f in mine if f in theirs] == [f for f in theirs if f in mine], (one, other)


@pytest.mark.parametrize("verb", sorted(CLI.commands))
def test_help_ends_with_examples_that_are_right(verb: str, tmp_path: Path) -> None:
    import shlex

    given = examples(verb)
    assert 1 <= len(given) <= 2
    shown = specbranch(verb, "--help").stdout
    for example in given:
        assert example in " ".join(shown.split())
        program, first, *words = shlex.split(example.partition(" > ")[0])
        assert (program, first) == ("specbranch", verb)
        CLI.commands[verb].make_context(verb, words)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_answers_without_torch(shell: str) -> None:
    """As the shell's script calls it; zsh and fish give the line in another variable."""
    for line, wanted in (("specbranch cal", "calibrate"), ("specbranch simulate dra", "draft-length")):
        code = """
import sys
sys.modules["torch"] = None  # importing it fails
sys.argv = ["specbranch"]
import specbranch
specbranch.main()
"""
        environment = os.environ | {
            "_SPECBRANCH_COMPLETE": f"complete_{shell}",
            "COMP_WORDS": line,
            "COMP_CWORD": str(line.count(" ")),
            "_TYPER_COMPLETE_ARGS": line,
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        }
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert wanted in re.findall(r"[\w-]+", done.stdout)
        assert "verify" not in done.stdout


def test_what_a_shell_offers_is_what_there_is() -> None:
    assert sorted(options.POLICIES) == sorted(policy_names())
    assert sorted(options.OBJECTIVES) == sorted(OBJECTIVES)
    assert sorted(options.SYSTEMS) == sorted(SYSTEMS)


def test_what_comes_along_goes_by_name_anywhere(tmp_path: Path) -> None:
    assert (
        "tokens/s" in specbranch("simulate", "default", "--calibration", "reference", folder=tmp_path).stdout
    )
    assert "costs" in specbranch("inspect", "reference", folder=tmp_path).stdout
    for name in shipped.scenario_names():
        assert load_scenarios(shipped.find_scenario(Path(name)))
    said = refusal("simulate", "scenarios/none.yaml", folder=tmp_path)
    assert "draft-length" in said
    (tmp_path / "default").write_text("title: t\nconfigurations:\n  - policy: perl\n")
    assert "pearl" in refusal("simulate", "default", folder=tmp_path)  # a file that is there comes first


def test_costs_from_another_calibration_are_said_and_never_verified(tmp_path: Path) -> None:
    """The machine's own costs on texts from elsewhere, or the other way round: a figure tells that it is of two."""
    save_artifact(tmp_path / "texts", artifact(prompts=2, tokens=12, drafts={"int8": (0.9, 0.02)}))
    both = ("--calibration", "texts", "--costs-from", "reference")
    (tmp_path / "s.yaml").write_text("title: t\nconfigurations: [{policy: autoregressive}]\n")
    said = "costs and traces come from two calibrations"
    for words in (("simulate", "s.yaml"), ("tune",)):
        shown = " ".join(specbranch(*words, *both, folder=tmp_path).stdout.split())
        assert said in shown
    assert "without --costs-from" in refusal("verify", folder=tmp_path)
    (tmp_path / "s.yaml").write_text((ROOT / "scenarios/stated-costs.yaml").read_text())
    assert "the scenario states them" in refusal("simulate", "s.yaml", *both, folder=tmp_path)


def test_an_error_names_the_verb_that_makes_what_is_missing(tmp_path: Path) -> None:
    makers = {
        ("inspect",): "specbranch calibrate",
        ("tune",): "specbranch calibrate",
        ("simulate", "default", "--calibration", "mine"): "specbranch calibrate",
        ("map", "--calibration", "mine"): "specbranch calibrate",
        ("verify",): "specbranch tune",
        ("export",): "specbranch tune",
        ("generate", "hello", "--config", "tuned.yaml"): "specbranch tune",
        ("report",): "specbranch verify",
        ("trace",): "specbranch verify",
        ("simulate", "--against", "verification.json"): "specbranch verify",
        ("compare", "a.json", "b.json"): "specbranch verify",
        ("map", "--points", "verification.json"): "specbranch verify",
        ("bench", "--show", "bench.json"): "specbranch bench",
        ("merge", "a.csv", "--out", "b.csv"): "--table",
    }
    for words, maker in makers.items():
        said = refusal(*words, folder=tmp_path)
        assert maker in said, said
