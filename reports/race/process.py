"""A rival that is loaded: the process that serves, as this program sees it. Torch-free."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from engine.errors import SpecBranchError

SERVER = Path(__file__).with_name("server.py")
END_SECONDS = 10.0  # for a rival to end by itself


def outside() -> dict[str, str]:
    """The environment's variables for a Python of its own packages, and none of this program's."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}


@dataclass(frozen=True)
class Answer:
    """What was written behind each prompt, token ids, and the seconds that it took where it was computed.

    `accepted_length`: tokens written per target forward, where that is known.
    """

    texts: tuple[tuple[int, ...], ...]
    seconds: float
    accepted_length: float | None = None


class RivalProcess:
    """A process that has loaded a model; a context manager, which ends it. `title`: its name and version."""

    def __init__(self, python: Path, name: str, options: Mapping[str, Any], log: Path) -> None:
        """Start `name` of `server.py` by an environment's `python`; what the engine prints goes to `log`.

        SpecBranchError, with the engine's own last words, if it does not load.
        """
        self._name, self._log = name, log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w") as stream:
            self._process = subprocess.Popen(
                [str(python), str(SERVER), name, json.dumps(dict(options))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                text=True,
                env=outside(),
            )
        try:
            self.title = str(self._receive()["ready"])
        except BaseException:
            self.close()
            raise

    def serve(self, prompts: Sequence[Sequence[int]], tokens: int, draft_tokens: int = 0) -> Answer:
        """So many `tokens` behind each of the prompts at once; SpecBranchError if not all of them were written."""
        asked = {"prompts": [list(ids) for ids in prompts], "tokens": tokens, "draft_tokens": draft_tokens}
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(asked) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise self._ended() from error
        answer = self._receive()
        texts = tuple(tuple(text) for text in answer["texts"])
        if [len(text) for text in texts] != [tokens] * len(prompts):
            raise SpecBranchError(f"{self.title} did not write {tokens} tokens for each of its requests.")
        return Answer(texts, float(answer["seconds"]))

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._ended()
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise SpecBranchError(f"{self._name} failed ({_one_line(answer['error'])}); see {self._log}.")
        return answer

    def _ended(self) -> SpecBranchError:
        code = self._process.wait()
        return SpecBranchError(f"the process of {self._name} ended with code {code}; see {self._log}.")

    def __enter__(self) -> "RivalProcess":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):  # what was not sent to a process that has ended
                    pipe.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _one_line(text: str, longest: int = 200) -> str:
    words = " ".join(text.split())
    return words if len(words) <= longest else words[: longest - 3] + "..."
