"""The prompts that measurements are taken on: a built-in set of our own, and a reader of users' files."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from calibrate.file_kinds import PROMPTS, TEXT_FIELDS, reading
from engine.errors import ConfigurationError

SPLITS = ("calibration", "heldout")
ID_FIELDS = ("id", "task_id", "question_id")
KIND_FIELDS = ("kind", "category")
UNDERSTOOD = (
    "one JSON object a line with the prompt in 'text', 'prompt', 'question' or 'turns' (of a list the first "
    "counts), and if you like 'id', 'task_id' or 'question_id', 'kind' or 'category', and 'split'"
)
_BUILTIN = Path(__file__).with_name("builtin.jsonl")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A text for the target model to answer; `split` keeps what is tuned on apart from what is judged on."""

    id: str
    kind: str
    split: str
    text: str

    @property
    def digest(self) -> str:
        """The SHA-256 of the text in hexadecimal, by which a record names the prompt without repeating it."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def builtin_prompts(split: str, count: int | None = None) -> tuple[Prompt, ...]:
    """The first `count` built-in prompts of a split (all by default), balanced over the kinds for any count.

    Raises ConfigurationError if there is no such split or it has fewer prompts.
    """
    if split not in SPLITS:
        raise ConfigurationError(f"the split {split!r} is unknown, it is {_alternatives(SPLITS)}")
    # The file goes round the kinds, so that every prefix of a split is balanced.
    prompts = tuple(p for p in _all_builtin() if p.split == split)
    if count is None:
        return prompts
    if not 1 <= count <= len(prompts):
        raise ConfigurationError(
            f"{count} built-in prompts were asked for, choose from 1 to {len(prompts)} "
            f"(so many has the split '{split}') or bring a file of your own"
        )
    return prompts[:count]


def read_prompts(path: Path) -> tuple[Prompt, ...]:
    """Read a JSONL file with our own fields or those of HumanEval, GSM8K, MT-bench or Spec-Bench.

    A file without splits is split by the hash of each text: equal texts are on the same side, a prompt stays
    on its side when others are added (but for one moved to a side that would be empty), and neither side is
    empty if there are two different texts. Raises ConfigurationError.
    """
    with reading(path, PROMPTS):
        return _read(path)


def _read(path: Path) -> tuple[Prompt, ...]:
    try:
        # Editors on Windows like to put a byte order mark first, which JSON does not allow.
        content = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise _wrong(path, f"cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise _wrong(path, f"cannot be read ({error})") from error
    prompts: list[Prompt] = []
    lines: dict[str, int] = {}
    first_with_split = first_without_split = 0
    for number, line in _lines(content):
        where = f"{path}:{number}"
        prompt = _prompt(where, number, line)
        if prompt.id in lines:
            raise ConfigurationError(
                f"{where}: the id {prompt.id!r} is already that of line {lines[prompt.id]}, ids must differ"
            )
        lines[prompt.id] = number
        prompts.append(prompt)
        if prompt.split:
            first_with_split = first_with_split or number
        else:
            first_without_split = first_without_split or number
    if not prompts:
        raise _wrong(path, "has no prompts")
    if first_with_split and first_without_split:
        raise ConfigurationError(
            f"{path}:{first_without_split}: has no 'split' although line {first_with_split} has one, "
            f"give {_alternatives(SPLITS)} on every line or on none"
        )
    if first_without_split:
        return _split_by_hash(prompts)
    _refuse_shared_texts(path, prompts, lines)
    return tuple(prompts)


def choose_prompts(path: Path | None, split: str, count: int) -> tuple[Prompt, ...]:
    """`count` prompts of a split at most, from the user's file or the built-in set.

    Raises ConfigurationError if the file is wrong or holds none of that split.
    """
    if path is None:
        return builtin_prompts(split, min(count, len(builtin_prompts(split))))
    mine = tuple(prompt for prompt in read_prompts(path) if prompt.split == split)
    if not mine:
        raise _wrong(path, f"holds no prompt of the split '{split}'; give it two different texts or more.")
    return mine[:count]


@cache
def _all_builtin() -> tuple[Prompt, ...]:
    return read_prompts(_BUILTIN)


def _lines(content: str) -> Iterator[tuple[int, str]]:
    # Not splitlines(): JSON strings may hold the Unicode line separators at which it breaks.
    for number, line in enumerate(content.split("\n"), start=1):
        if line.strip():
            yield number, line


def _prompt(where: str, number: int, line: str) -> Prompt:
    """The prompt of one line; its split is empty where the line has none."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _wrong(where, f"not valid JSON ({error})") from error
    if not isinstance(entry, dict):
        raise _wrong(where, "not a JSON object")
    name, text = _text(where, entry)
    if not text.strip():
        raise _wrong(where, f"the prompt in '{name}' is empty")
    split = _label(where, entry, ("split",)) or ""
    if split and split not in SPLITS:
        raise ConfigurationError(f"{where}: the split {split!r} is unknown, it is {_alternatives(SPLITS)}")
    return Prompt(
        id=_label(where, entry, ID_FIELDS) or f"line-{number}",
        kind=_label(where, entry, KIND_FIELDS) or "user",
        split=split,
        text=text,
    )


def _text(where: str, entry: dict[str, Any]) -> tuple[str, str]:
    """The field that holds the prompt, and the prompt."""
    names = [name for name in TEXT_FIELDS if entry.get(name) is not None]
    if not names:
        found = ", ".join(repr(name) for name in entry) or "none"
        raise _wrong(where, f"no prompt among the fields ({found})")
    if len(names) > 1:
        # For instance a passage in 'text' and a 'question' about it: either alone would be a wrong prompt.
        both = " and ".join(f"'{name}'" for name in names)
        raise _wrong(where, f"{both} could each be the prompt")
    name = names[0]
    value = entry[name]
    if isinstance(value, list) and value:
        value = value[0]  # The later turns of a conversation need the answers to the earlier ones.
    if not isinstance(value, str):
        raise _wrong(where, f"the prompt in '{name}' is neither a text nor a list of texts")
    return name, _encodable(where, name, value)


def _label(where: str, entry: dict[str, Any], names: tuple[str, ...]) -> str | None:
    """The first of the fields that is there, as text; MT-bench numbers its questions."""
    for name in names:
        value = entry.get(name)
        if value is None or value == "":
            continue
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise ConfigurationError(f"{where}: '{name}' is neither a text nor a whole number")
        return _encodable(where, name, str(value))
    return None


def _encodable(where: str, name: str, value: str) -> str:
    # JSON can spell half a surrogate pair, which no tokenizer, hash or terminal takes.
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ConfigurationError(f"{where}: '{name}' is not valid Unicode ({error.reason})") from error
    return value


def _split_by_hash(prompts: list[Prompt]) -> tuple[Prompt, ...]:
    """Give every prompt the side that its text's digest says, and mend a side that would be empty."""
    digests = sorted({p.digest for p in prompts})
    heldout = {digest for digest in digests if int(digest[-1], 16) % 2}
    if len(heldout) == len(digests):
        heldout.discard(digests[0])
    elif not heldout and len(digests) > 1:
        heldout.add(digests[0])
    return tuple(Prompt(p.id, p.kind, SPLITS[p.digest in heldout], p.text) for p in prompts)


def _refuse_shared_texts(path: Path, prompts: list[Prompt], lines: dict[str, int]) -> None:
    seen: dict[str, Prompt] = {}
    for prompt in prompts:
        first = seen.setdefault(prompt.text, prompt)
        if first.split != prompt.split:
            raise ConfigurationError(
                f"{path}:{lines[prompt.id]}: the text is that of line {lines[first.id]} in the other split, "
                "a held-out prompt must be new"
            )


def _wrong(where: str | Path, what: str) -> ConfigurationError:
    return ConfigurationError(f"{where}: {what}; expected is {UNDERSTOOD}")


def _alternatives(words: tuple[str, ...]) -> str:
    return " or ".join(f"'{word}'" for word in words)
