"""The replay of a verification's own prompts."""

from dataclasses import replace
from pathlib import Path

import artifacts
import pytest

from calibrate.artifact import load_artifact, save_artifact
from calibrate.prompts import Prompt
from reports.verify.written_texts import on_these_prompts
from sim.world.replay import Replay


@pytest.mark.parametrize("used", [("int8",), ("int8", "distilled"), ()])
def test_it_opens_whichever_drafts_were_run(used: tuple[str, ...], tmp_path: Path) -> None:
    made = artifacts.artifact()
    traces = [replace(t, drafts={name: t.drafts[name] for name in used}) for t in made.traces]
    prompts = [Prompt(p.id, p.kind, "heldout", p.id) for p in made.recorded.prompts]
    ids = [trace.prompt.tolist() for trace in traces]
    own = on_these_prompts(made, prompts, ids, traces, made.recorded.max_tokens, 0.0)
    save_artifact(tmp_path / "replay", own)
    again = load_artifact(tmp_path / "replay")
    assert tuple(again.recorded.drafts) == used
    assert [t.path.tolist() for t in again.traces] == [t.path.tolist() for t in made.traces]
    assert Replay(again).placements == Replay(made).placements
