"""The target's own texts after a calibration's prompts, as every draft sees them, and real runs over them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from pydantic import TypeAdapter

from calibrate.cost_records import Rehearsal
from calibrate.journal import Journal
from calibrate.prompts import Prompt
from calibrate.trace_records import Trace
from calibrate.traces.observation import Seen, Text, as_seen, chances, view
from engine.configuration import Configuration
from engine.models.sampling import GREEDY, Sampling
from engine.models.tokenizer import Tokenizer
from engine.progress import Show
from engine.record import Run
from engine.runtime.pair import Pair
from engine.runtime.placement import Placement

WRITTEN = Configuration(policy="speculative", placement="in-turn")
DRAWN = WRITTEN.model_copy(update={"draw_drafts": True})  # twice as often the target's token
WARM_UP_TOKENS = 8
_RUN = TypeAdapter(Run)


class SamplingParams(NamedTuple):
    """How texts are written: how tokens are chosen (see `Sampling.of_text`), and how many at most."""

    sampling: Sampling
    tokens: int

    def of(self, prompt: Prompt) -> Sampling:
        """How those of the text behind a prompt are."""
        return self.sampling.of_text(prompt.digest)

    @property
    def writer(self) -> Configuration:
        """What writes them."""
        return WRITTEN if self.sampling.greedy else DRAWN


@dataclass
class Author:
    """Writes texts with a pair, noting each finished step in a journal; `show` hears of all of them.

    The first run behind other work takes longer than any other, which is not a cost of the pair: a short run goes
    before it that counts for nothing. `_warm` are the policy and placement that need none.
    """

    pair: Pair
    tokenizer: Tokenizer
    journal: Journal
    show: Show
    _warm: tuple[str, Placement] | None = field(init=False, default=None)

    def write(
        self, prompts: Sequence[Prompt], part: range, params: Sequence[SamplingParams]
    ) -> tuple[list[list[Trace]], list[Rehearsal]]:
        """For each of `params` a trace of each prompt in `part`, their places, and the greedy runs that wrote them.

        Whatever the workers did since the part before, the first run that is measured here is warmed up.

        Texts are written by speculative decoding, which changes nothing but which way numeric ties fall in
        bfloat16: as they do where several tokens are read at once (docs/design.md, "Numeric ties").
        """
        self._warm = None
        traces: list[list[Trace]] = [[] for _ in params]
        greedy = []
        for index in part:
            prompt = prompts[index]
            runs = [self._run(prompt, one.writer, one) for one in params]
            texts = [Text(list(run.tokens), one.of(prompt)) for run, one in zip(runs, params, strict=True)]
            for mine, trace in zip(traces, self._traces(prompt, texts), strict=True):
                mine.append(trace)
            greedy += [
                Rehearsal(configuration=WRITTEN, prompt=index, run=run)
                for run, one in zip(runs, params, strict=True)
                if one.sampling.greedy
            ]
            self.show("texts, seen by all", index + 1, len(prompts))
        return traces, greedy

    def rehearse(
        self, prompts: Sequence[Prompt], tokens: int, configuration: Configuration
    ) -> list[Rehearsal]:
        """Greedy runs of a configuration, the first that is measured warmed up."""
        self._warm = None
        runs = []
        for index, prompt in enumerate(prompts):
            run = self._run(prompt, configuration, SamplingParams(GREEDY, tokens))
            runs.append(Rehearsal(configuration=configuration, prompt=index, run=run))
            self.show("real rounds, both models at once", index + 1, len(prompts))
        return runs

    def _run(self, prompt: Prompt, configuration: Configuration, params: SamplingParams) -> Run:
        def write() -> Any:
            ids = self.tokenizer.encode(prompt.text)
            kind = configuration.policy, configuration.placement
            if self._warm != kind:
                self.pair.generate(configuration, ids, max_tokens=WARM_UP_TOKENS)
                self._warm = kind
            run = self.pair.generate(
                configuration,
                ids,
                max_tokens=params.tokens,
                end_tokens=self.tokenizer.end_tokens,
                sampling=params.of(prompt),
            )
            return _RUN.dump_python(run, mode="json")

        how = "" if params.sampling.greedy else "-sampled"
        return _RUN.validate_python(
            self.journal.step(f"run.{_key(prompt)}.{configuration.policy}{how}", write)
        )

    def _traces(self, prompt: Prompt, texts: Sequence[Text]) -> list[Trace]:
        """How all models see each of the texts behind a prompt."""
        ids, key = self.tokenizer.encode(prompt.text), _key(prompt)

        def see(name: str) -> list[list[dict[str, Any]]]:
            _, player = self.pair.players("in-turn", name)
            assert player is not None
            return view(player, ids, texts)

        def certain() -> list[list[float]]:
            return chances(self.pair.players("in-turn", None)[0], ids, texts)

        views = {
            name: self.journal.step(f"view.{key}.{name}", partial(see, name)) for name in self.pair.drafts
        }
        certainty = self.journal.step(f"certainty.{key}", certain)
        return [
            trace_of(
                ids, text, {name: as_seen(seen[place]) for name, seen in views.items()}, certainty[place]
            )
            for place, text in enumerate(texts)
        ]


def trace_of(
    prompt: Sequence[int], text: Text, views: Mapping[str, Seen], chances: Sequence[float] = ()
) -> Trace:
    """A text as all drafts saw it; `chances`: the target's, of its tokens."""
    return Trace(
        np.array(prompt, dtype=np.int32),
        np.array(text.path, dtype=np.int32),
        {name: seen.likeliest for name, seen in views.items()},
        np.array(chances, dtype=np.float32),
        {name: seen.drawing for name, seen in views.items() if seen.drawing is not None},
    )


def _key(prompt: Prompt) -> str:
    return prompt.digest[:16]
