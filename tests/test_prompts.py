"""The built-in prompts are balanced and stay as they are; users' files are understood or refused in words."""

import hashlib
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import calibrate.prompts
from calibrate.prompts import SPLITS, Prompt, builtin_prompts, read_prompts
from engine.errors import ConfigurationError

KINDS = {"chat", "code", "mathematics", "summary", "translation", "question"}
BUILTIN = Path(calibrate.prompts.__file__).with_name("builtin.jsonl")
ALL = read_prompts(BUILTIN)


def write(folder: Path, *entries: Any) -> Path:
    """A JSONL file of the entries; a string is written as it stands."""
    file = folder / "prompts.jsonl"
    lines = [e if isinstance(e, str) else json.dumps(e) for e in entries]
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return file


def test_builtin_set_is_complete() -> None:
    assert Counter(p.kind for p in ALL) == dict.fromkeys(KINDS, 12)
    assert Counter((p.kind, p.split) for p in ALL) == {(k, s): 6 for k in KINDS for s in SPLITS}
    assert len({p.id for p in ALL}) == len({p.text for p in ALL}) == len({p.digest for p in ALL}) == 72
    assert all(re.fullmatch(rf"{p.kind}-(0[1-9]|1[0-2])", p.id) for p in ALL)
    assert all(p.text == p.text.strip() for p in ALL)


def test_passages_are_of_moderate_length() -> None:
    for prompt in ALL:
        if prompt.kind in ("summary", "question"):
            words = max(len(part.split()) for part in prompt.text.split("\n\n"))
            assert 60 <= words <= 150, prompt.id


@given(split=st.sampled_from(SPLITS), count=st.integers(1, 36))
def test_any_count_is_balanced(split: str, count: int) -> None:
    prompts = builtin_prompts(split, count)
    assert len(prompts) == count
    assert {p.split for p in prompts} == {split}
    counts = Counter(p.kind for p in prompts)
    assert max(counts.values()) - min(counts[k] for k in KINDS) <= 1


def test_fewer_prompts_begin_the_same() -> None:
    for split in SPLITS:
        assert len(builtin_prompts(split)) == 36
        assert builtin_prompts(split, 7) == builtin_prompts(split)[:7]
    assert {p.id for s in SPLITS for p in builtin_prompts(s)} == {p.id for p in ALL}


def test_builtin_prompts_say_what_they_cannot_do() -> None:
    with pytest.raises(ConfigurationError, match="'test' is unknown, it is 'calibration' or 'heldout'"):
        builtin_prompts("test")
    for count in (0, -1, 37):
        with pytest.raises(ConfigurationError, match=f"{count} built-in .* from 1 to 36 .*'heldout'"):
            builtin_prompts("heldout", count)


def test_digests_are_stable() -> None:
    assert Prompt("a", "b", "heldout", "grüß").digest == hashlib.sha256("grüß".encode()).hexdigest()
    # Published records name the prompts by digest: whoever edits a built-in prompt must mean to.
    together = hashlib.sha256("".join(p.digest for p in ALL).encode()).hexdigest()
    assert together[:16] == "020e7b7d9ddd1377"


@pytest.mark.parametrize(
    ("entry", "id_", "kind"),
    [
        ({"id": "a-1", "kind": "poem", "split": "heldout", "text": "Hello"}, "a-1", "poem"),
        (
            {"task_id": "HumanEval/0", "prompt": "Hello", "entry_point": "f", "test": "assert"},
            "HumanEval/0",
            "user",
        ),
        ({"question": "Hello", "answer": "#### 5"}, "line-1", "user"),
        ({"question_id": 81, "category": "writing", "turns": ["Hello", "And again"]}, "81", "writing"),
        ({"question_id": 0, "category": "math_reasoning", "turns": ["Hello"]}, "0", "math_reasoning"),
        ({"prompt": ["Hello", "And again"], "category": "stem", "prompt_id": 3}, "line-1", "stem"),
        ({"text": "Hello"}, "line-1", "user"),
        ({"prompt": "Hello", "id": None}, "line-1", "user"),
    ],
)
def test_formats(tmp_path: Path, entry: dict[str, Any], id_: str, kind: str) -> None:
    (prompt,) = read_prompts(write(tmp_path, entry))
    assert (prompt.id, prompt.kind, prompt.text) == (id_, kind, "Hello")
    # A single prompt is there to be calibrated on.
    assert prompt.split == entry.get("split", "calibration")


def test_text_is_kept_and_lines_are_counted_as_an_editor_does(tmp_path: Path) -> None:
    code = "\n\ndef f():\n    "
    file = write(tmp_path, {"text": code}, "", '{"text": "one\u2028two"}')
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    assert [(p.id, p.text) for p in read_prompts(file)] == [("line-1", code), ("line-3", "one\u2028two")]


@given(texts=st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=8))
def test_split_by_hash(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    folder = tmp_path_factory.getbasetemp()
    prompts = read_prompts(write(folder, *({"text": t} for t in texts)))
    sides = {p.text: p.split for p in prompts}
    # Equal texts are on one side: the text decides, not the line.
    assert all(sides[p.text] == p.split for p in prompts)
    assert set(sides.values()) == (set(SPLITS) if len(sides) > 1 else {"calibration"})
    again = read_prompts(write(folder, *({"text": t} for t in reversed(texts))))
    assert {p.text: p.split for p in again} == sides


def test_split_of_a_prompt_survives_additions(tmp_path: Path) -> None:
    texts = [f"prompt {n}" for n in range(200)]
    some = read_prompts(write(tmp_path, *({"text": t} for t in texts[:50])))
    more = read_prompts(write(tmp_path, *({"text": t} for t in texts)))
    assert more[:50] == some
    assert 80 <= sum(p.split == "heldout" for p in more) <= 120


A, B = {"id": "a", "text": "A"}, {"id": "b", "text": "B"}
FIELDS = (
    "expected is one JSON object a line with the prompt in 'text', 'prompt', 'question' or 'turns' "
    "(of a list the first counts), and if you like 'id', 'task_id' or 'question_id', 'kind' or 'category', "
    "and 'split'"
)


@pytest.mark.parametrize(
    ("entries", "line", "says"),
    [
        ([A, '{"text": '], 2, ("not valid JSON (Expecting value", FIELDS)),
        ([A, "[" * 100_000], 2, ("not valid JSON", FIELDS)),
        ([["A", "B"]], 1, ("not a JSON object", FIELDS)),
        ([A, {"txt": "B", "id": "b"}], 2, ("no prompt among the fields ('txt', 'id')", FIELDS)),
        (['{"\\ud800": 1}'], 1, (r"no prompt among the fields ('\ud800')", FIELDS)),
        ([{}], 1, ("no prompt among the fields (none)", FIELDS)),
        ([{"text": "B", "question": "C?"}], 1, ("'text' and 'question' could each be the prompt", FIELDS)),
        ([A, "", {"text": " \n"}], 3, ("the prompt in 'text' is empty", FIELDS)),
        ([{"turns": [""]}], 1, ("the prompt in 'turns' is empty", FIELDS)),
        ([{"turns": []}], 1, ("'turns' is neither a text nor a list of texts", FIELDS)),
        ([{"prompt": 5}], 1, ("'prompt' is neither a text nor a list of texts", FIELDS)),
        ([A, B, {"id": "a", "text": "C"}], 3, ("the id 'a' is already that of line 1",)),
        (['{"id": "a\\n", "text": "A"}'] * 2, 2, (r"the id 'a\n' is already that of line 1",)),
        ([{"id": "line-2", "text": "A"}, {"text": "B"}], 2, ("the id 'line-2' is already that of line 1",)),
        ([{"id": 1.5, "text": "A"}], 1, ("'id' is neither a text nor a whole number",)),
        ([{"category": True, "text": "A"}], 1, ("'category' is neither a text nor a whole number",)),
        ([{"split": "test", "text": "A"}], 1, ("'test' is unknown, it is 'calibration' or 'heldout'",)),
        ([{**A, "split": "heldout"}, B], 2, ("has no 'split' although line 1 has one",)),
        ([A, {**B, "split": "heldout"}], 1, ("has no 'split' although line 2 has one",)),
        (
            [{**A, "split": "heldout"}, {"text": "A", "split": "calibration"}],
            2,
            ("the text is that of line 1 in the other split",),
        ),
        (['{"text": "\\ud800"}'], 1, ("'text' is not valid Unicode (surrogates not allowed)",)),
    ],
)
def test_wrong_line_is_named(tmp_path: Path, entries: list[Any], line: int, says: tuple[str, ...]) -> None:
    file = write(tmp_path, *entries)
    with pytest.raises(ConfigurationError) as caught:
        read_prompts(file)
    message = str(caught.value)
    assert message.startswith(f"{file}:{line}: ")
    assert all(part in message for part in says), message
    assert "\n" not in message


@pytest.mark.parametrize("content", [b"", b"\n \n", b'{"text": "\xff"}\n', None])
def test_unusable_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "p.jsonl"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        read_prompts(file)
    reason = "cannot be read" if content is None or b"\xff" in content else "has no prompts"
    assert str(caught.value).startswith(f"{file}: {reason}")
    assert FIELDS in str(caught.value)
