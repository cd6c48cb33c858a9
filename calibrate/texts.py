"""The target's own texts after a calibration's prompts, as every draft sees them, and real runs over them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from calibrate import observation
from calibrate.artifact import Rehearsal, Trace
from calibrate.journal import Journal
from calibrate.laps import Show
from calibrate.observation import as_trace, view
from calibrate.prompts import Prompt
from engine.configuration import Configuration
from engine.pair import Pair
from engine.record import Run
from engine.sampling import GREEDY, Sampling
from engine.tokenizer import Tokenizer

WRITTEN = Configuration(policy="speculative", placement="in-turn")
_RUN = TypeAdapter(Run)


@dataclass(frozen=True)
class Author:
    """Writes texts with a pair, noting each finished step in a journal; `show` hears of all of them."""

    pair: Pair
    tokenizer: Tokenizer
    journal: Journal
    show: Show

    def write(
        self, prompts: Sequence[Prompt], tokens: int, sampling: Sampling
    ) -> tuple[list[Trace], list[Rehearsal]]:
        """A trace for each prompt, of up to `tokens` tokens, and the runs that wrote them.

        Texts are written by speculative decoding, which changes nothing but which way numeric ties fall in
        bfloat16: as they do where several tokens are read at once (docs/design.md, "Numeric ties").
        """
        traces, runs = [], []
        for index, prompt in enumerate(prompts):
            run = self._run(index, prompt, tokens, WRITTEN, sampling)
            runs.append(Rehearsal(configuration=WRITTEN, prompt=index, run=run))
            traces.append(self._trace(prompt, list(run.tokens), sampling))
            self.show(
                f"{'greedy' if sampling.greedy else 'sampled'} texts, seen by all", index + 1, len(prompts)
            )
        return traces, runs

    def rehearse(
        self, prompts: Sequence[Prompt], tokens: int, configuration: Configuration
    ) -> list[Rehearsal]:
        """Greedy runs of a configuration."""
        runs = []
        for index, prompt in enumerate(prompts):
            run = self._run(index, prompt, tokens, configuration, GREEDY)
            runs.append(Rehearsal(configuration=configuration, prompt=index, run=run))
            self.show("real rounds, both models at once", index + 1, len(prompts))
        return runs

    def _run(
        self, index: int, prompt: Prompt, tokens: int, configuration: Configuration, sampling: Sampling
    ) -> Run:
        def write() -> Any:
            ids = self.tokenizer.encode(prompt.text)
            if index == 0:  # what a placement's first run costs beyond any other is not a cost of the pair
                self.pair.generate(configuration, ids, max_tokens=8)
            run = self.pair.generate(
                configuration,
                ids,
                max_tokens=tokens,
                end_tokens=self.tokenizer.end_tokens,
                sampling=sampling,
            )
            return _RUN.dump_python(run, mode="json")

        key = f"run.{prompt.digest[:16]}.{configuration.policy}{_kind(sampling)}"
        return _RUN.validate_python(self.journal.step(key, write))

    def _trace(self, prompt: Prompt, path: list[int], sampling: Sampling) -> Trace:
        ids = self.tokenizer.encode(prompt.text)

        def see(name: str) -> Callable[[], Any]:
            def seen() -> Any:
                _, player = self.pair.players("in-turn", name)
                assert player is not None
                return view(player, ids, path, sampling)

            return seen

        def certain() -> Any:
            player, _ = self.pair.players("in-turn", None)
            return player.worker.call(
                observation.certainty,
                name=player.model,
                prompt=ids,
                path=path,
                sampling=sampling.model_dump(mode="json"),
            )

        kind = _kind(sampling)
        views = {
            name: as_trace(self.journal.step(f"view.{prompt.digest[:16]}.{name}{kind}", see(name)))
            for name in self.pair.drafts
        }
        chances = self.journal.step(f"certainty.{prompt.digest[:16]}{kind}", certain)
        return Trace(
            np.array(ids, dtype=np.int32),
            np.array(path, dtype=np.int32),
            views,
            np.array(chances, dtype=np.float32),
        )


def _kind(sampling: Sampling) -> str:
    return "" if sampling.greedy else "-sampled"
