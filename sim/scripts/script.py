"""What a policy does along one path, without a clock: the work that is then given its time in `sim.world.simulation`.

A policy decides by tokens and confidences alone, and it waits for every result that it reads. So its rounds, and what
each forward has to read, are the same wherever the models run and whatever they cost: they are written down once, as
a `Script`, and timed for each placement and what-if. One that asks about the load has a script of its text alone, and
where it is served with others it is run there, by the same session (`sim.scripts.live`). What a forward has to read
comes from a `SimulatedCache`, kept for both models as a worker keeps its `CacheState` (see
`engine.runtime.worker_process.Hosted`).
"""

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from engine.policies import Policy, load_policy
from engine.policies.forms import NO_PARENTS, NO_SHAPE, Line, Parents
from engine.policies.guesses import LONGEST_MATCH, guessed
from engine.policies.load import Alone, Answer, LoadQuestion
from engine.policies.ngrams import NONE, NGrams
from engine.policies.protocol import Draft, DraftLimits, Handle
from engine.policies.repetitions import Repetitions
from engine.policies.settings import Settings
from engine.policies.tree import Round, TokenTree, Verdict, accept, first_nodes, follows
from engine.service_record import MODELS
from sim.acceptance.sources import AcceptanceSource, agreement
from sim.scripts.work import (
    DRAFT,
    DRAFT_COLUMNS,
    TARGET,
    TARGET_COLUMNS,
    Forwards,
    Jobs,
    Script,
    ServedJob,
)

PROMPT_TOKEN = 0  # a prompt's tokens are only counted where none was recorded
NO_TOKEN = -(2**31)  # what the target would write past the end of its path; no draft writes it

HASTY = "a policy has to wait for all jobs that it asked for since the last wait"

# Many verdicts are the same, and to find one is faster than to make one.
_verdict = lru_cache(maxsize=1 << 16)(Verdict)


@lru_cache
def _alone(limits: DraftLimits) -> DraftLimits:
    """The limits of a branch that is alone, were it written without guesses."""
    return replace(limits, length=limits.most, branches=1, adaptive=False, guesses=0)


def _drawn(draft: Draft, branches: Parents, limits: DraftLimits) -> int:
    """How many tokens each forward of a draft draws that draws them."""
    if limits.shape.ranks:  # in the mean: all together draw behind the text and every node that has children
        return max(1, round(len(set(branches)) / draft.steps))
    return len(branches.roots)


@dataclass(slots=True)
class SimulatedCache:
    """What a model's cache holds, by counts: as `engine.models.cache_state.CacheState` where the text only ever grows.

    The model was told the path up to `told` and holds it, and behind it `line`, whose first `agreed` tokens are the
    path's; behind that its last job wrote `branches`, of whose `tokens` it read `lines`; of a chain, all. Only tokens
    behind `told` are ever compared, so a round costs the same wherever in a text.
    """

    told: int = 0
    line: tuple[int, ...] = ()
    agreed: int = 0
    branches: Parents = NO_PARENTS
    tokens: tuple[int, ...] = ()
    lines: tuple[Line, ...] = ()

    def rewind(
        self, path: tuple[int, ...], position: int, line: tuple[int, ...], agreed: int
    ) -> tuple[int, int, int]:
        """Go on with the path up to `position` and `line`, which are read to their end; `agreed` of it are the path's.

        How much of the path and the line is kept, how many tokens of the tree move to their place for it (as many as
        `engine.models.cache_state.Rewound.slots`), and how many are left to read: at least the last one.
        """
        told, held, kept = self.told, len(self.line), self.agreed
        news = position - told
        last = news + len(line) - 1
        if kept >= news and held > news:  # the line goes on where the text ends, so lines are compared
            kept = agreement(path[told:position] + line, 0, self.line)
        if kept > last:
            kept = last
        moved = 0
        if kept == held < last and self.tokens:
            following = path[told + held : position] + line if held <= news else line[held - news :]
            following = following[: last - held]
            if self.branches.is_chain:
                kept += agreement(following, 0, self.tokens)
            else:
                ahead, in_place = self._along(following)
                kept += ahead
                moved = 0 if in_place else ahead
        self.told, self.line, self.agreed, self.tokens = position, line, agreed, ()
        return told + kept, moved, last + 1 - kept

    def _along(self, following: tuple[int, ...]) -> tuple[int, bool]:
        """How many of these tokens the longest line that was read goes on with, and whether it lies in its place."""
        tokens, begin, ahead, in_place = self.tokens, following[0], 0, True
        for line in self.lines:
            if tokens[line.first] == begin:
                same = agreement(following, 0, line.pick(tokens))
                if same > ahead:
                    ahead, in_place = same, line.numbers[same - 1] == same - 1
        return ahead, in_place

    def hold(self, accepted: tuple[int, ...]) -> None:
        """Note the tokens of a tree behind the line that were accepted: no other ones will ever be gone on with."""
        self.branches, self.tokens = NO_PARENTS, accepted

    def write(self, draft: Draft, inner: bool = False) -> tuple[int, ...]:
        """Note a draft behind the line; returns how many branches each forward but the first one read.

        Each reads what the one before wrote, but for siblings and, with `inner`, for what nothing follows (see
        `engine.models.decoding.write_draft`).
        """
        tree = draft.tree
        branches = tree.parents.first[tree.drafted] if tree.sources else tree.parents
        self.branches = branches
        levels = draft.steps - 1
        if branches.is_chain:
            self.tokens = tree.tokens[:levels]
            return (1,) * levels
        self.tokens = tree.tokens
        counts, self.lines = branches.reading[levels, inner]
        return counts


@dataclass(slots=True, eq=False)
class Known:
    """Implements `engine.policies.protocol.Handle`: a result that is known before its time, and the job it is of."""

    value: Any
    job: int


@dataclass(slots=True)
class ScriptSession:
    """Implements `engine.policies.protocol.Session`: writes down the work that a policy asks for.

    `position` counts the tokens of the path that were written behind `prompt`; `ngrams` are what is guessed by, beside
    the `repetitions` of prompt and path, which all sessions of one text may share. `ask`: who answers questions about
    the load; None: the text is alone. `questions`: how many there were.
    """

    source: AcceptanceSource
    prompt: Sequence[int]
    ngrams: NGrams = NONE
    repetitions: Repetitions = field(default_factory=Repetitions)
    ask: Callable[[LoadQuestion], Answer] | None = None
    position: int = 0
    rounds: list[Round] = field(default_factory=list)
    waits: list[int] = field(default_factory=list)
    first: int = 0
    asked: int = 0
    waited: int = 0
    questions: int = 0
    _path: tuple[int, ...] = field(init=False)
    _before: int = field(init=False)
    # Lists, since they grow faster than arrays of integers do.
    _models: list[int] = field(default_factory=list)
    _target_jobs: list[int] = field(default_factory=list)
    _draft_jobs: list[int] = field(default_factory=list)
    _steps: list[int] = field(default_factory=list)
    _compared: tuple[int, tuple[int, ...], int] = (0, (), 0)
    _text: list[int] = field(init=False)
    _target: SimulatedCache | None = None
    _draft: SimulatedCache | None = None
    _alone: Alone = field(default_factory=Alone)
    _answer: Answer | None = None  # to a question since the last wait
    _told: tuple[int, int, int, int] = (0, 0, 0, 0)  # of jobs, and of what is written down of them

    def __post_init__(self) -> None:
        self._path = self.source.path
        self._before, self._text = len(self.prompt), list(self.prompt)

    @property
    def finished(self) -> bool:
        return self.position >= len(self._path)

    @property
    def text(self) -> list[int]:
        """The prompt's tokens and those written so far; one list, which grows."""
        self._text += self._path[len(self._text) - self._before : self.position]
        return self._text

    def verify(self, tree: TokenTree, predict: int = 0) -> Known:
        tokens, path, position, job = tree.tokens, self._path, self.position, self.asked
        if self.questions:
            self._alone.verified()
        if tree.parents.is_chain:
            line, agreed = tokens, self._agreement(tokens) if tokens else 0
            nodes = first_nodes(agreed)
        else:
            line, agreed = (), 0
            nodes, _ = accept(tree, self._chosen(tree))
        at = position + len(nodes)
        token = path[at] if at < len(path) else NO_TOKEN
        # As in `engine.runtime.worker_process.verify`: what was drafted behind a line that is rejected is lost anyway.
        predicted = predict and at < len(path) and follows(tree, nodes)
        prediction = self.source.predict(at, predict) if predicted else None
        verdict = _verdict(nodes, token, prediction)
        if self._target is None:
            self._target = SimulatedCache(position, line, agreed)
            context, unread = 0, self._before + position + len(line)
        else:
            context, _, unread = self._target.rewind(path, position, line, agreed)
            context += self._before
        if len(line) < len(tokens):
            self._target.hold(tree.along(nodes))
            unread += len(tokens)
        self._models.append(TARGET)
        self._target_jobs.extend((len(self.rounds), unread, context, len(tokens) + 1, 1 if predict else 0))
        self.asked = job + 1
        return Known(verdict, job)

    def _chosen(self, tree: TokenTree) -> tuple[int, ...]:
        """The target's own token behind the text, and behind each node that is on the path."""
        count = len(tree.tokens) + 1
        ahead = self._path[self.position : self.position + count]
        return tree.parents.by_depth(ahead + (NO_TOKEN,) * (count - len(ahead)))

    def draft(self, tree: TokenTree, limits: DraftLimits) -> Known:
        tokens, position, job, cache = tree.first_line, self.position, self.asked, self._draft
        agreed = self._agreement(tokens) if tokens else 0
        if cache is None:
            self._draft = cache = SimulatedCache(position, tokens, agreed)
            context, moved, opened, sent = 0, 0, 0, self._before + position + len(tokens)
            unread = sent
        else:
            sent = position - cache.told + len(tokens)
            context, moved, unread = cache.rewind(self._path, position, tokens, agreed)
            context += self._before
            opened = len(cache.branches.roots) if moved else 0
        read = unread
        guesses = limits.guesses
        alone = guesses and limits.branches == 1
        draft = self.source.write(position, tokens, agreed, _alone(limits) if alone else limits)
        active = cache.write(draft, limits.shape is not NO_SHAPE)
        if guesses and cache.branches.is_chain:
            if not alone:  # that there is one branch only is known behind the first forward
                draft = self.source.write(position, tokens, agreed, _alone(limits))
            forwards, draft = self._guess(draft.tree, tokens, limits)
            cache.write(draft)
            (checked, _), *rows = forwards
            draft = Draft(draft.tree, len(forwards))
            end = context + unread
            read = unread = unread + checked
            for checked, held in rows:
                self._steps.extend((job, 1 + checked, end + held, 1))
                read += 1 + checked
        elif active:
            end, steps = context + unread, len(active)
            if active.count(active[0]) == steps:
                self._steps.extend((job, active[0], end, steps))
                read += active[0] * steps
            else:
                for step, count in enumerate(active):
                    self._steps.extend((job, count, end + step, 1))
                read += sum(active)
        self._models.append(DRAFT)
        self._draft_jobs.extend(
            (
                len(self.rounds),
                unread,
                context,
                draft.steps,
                read,
                opened,
                moved,
                _drawn(draft, cache.branches, limits) if limits.drawn else 0,
                sent,
                len(cache.branches),
            )
        )
        self.asked = job + 1
        return Known(draft, job)

    def _guess(
        self, whole: TokenTree, line: tuple[int, ...], limits: DraftLimits
    ) -> tuple[list[tuple[int, int]], Draft]:
        """Of each forward that writes a branch: how many tokens it checks, and of the branch has read before.

        As `engine.models.decoding.write_draft`, which does not know yet what becomes of them. And how much of `whole`
        they write, as a draft of as many steps as it would take without guesses.
        """
        tokens, count, going, text = whole.first_line, 0, True, self.text
        ahead = (*text[-LONGEST_MATCH:], *line, *tokens)
        begin = len(ahead) - len(tokens)
        forwards: list[tuple[int, int]] = []
        if limits.branches > 1:  # whether there are more is known behind the first forward
            count, forwards = 1, [(0, 0)]
        most, left = limits.most, limits.length - len(forwards)
        while going and left and count < most:
            end, left = begin + count, left - 1
            last = ahead[max(0, end - LONGEST_MATCH) : end]
            guess = guessed(self.repetitions, self.ngrams, text, last, min(limits.guesses, most - count - 1))
            forwards.append((len(guess), count - 1 if count else 0))
            # Behind the right guesses the forward writes a token of its own; behind the line's end it was not sure.
            count += agreement(tokens, count, guess) + 1
            if count > len(tokens):
                count, going = len(tokens), False
        return forwards, Draft(whole.until(count), count if going else count + 1)

    def _agreement(self, tokens: tuple[int, ...]) -> int:
        """How many of a line's tokens are right; where both models begin with one line, it is looked for once."""
        position, line, known = self._compared
        if position == self.position and line == tokens:
            return known
        known = agreement(self._path, self.position, tokens)
        self._compared = self.position, tokens, known
        return known

    def load(self, question: LoadQuestion) -> Answer:
        if self._answer is not None:
            raise RuntimeError(HASTY)
        self.questions += 1
        self._answer = Answer(self._alone.answer(question)) if self.ask is None else self.ask(question)
        return self._answer

    def emit(self, tokens: Sequence[int]) -> int:
        # Only accepted tokens and the target's own are ever written, so they are the path's.
        fits = min(len(tokens), len(self._path) - self.position)
        self.position += fits
        return fits

    def close_round(self, counts: Round) -> None:
        if not self.rounds:
            self.first = len(self.waits)
        self.rounds.append(counts)

    def wait(self, handles: Sequence[Handle[object]]) -> None:
        """Note that the jobs asked for since the last wait have to end. RuntimeError if it is not these, and all."""
        if self._answer is not None:
            others = [handle for handle in handles if handle is not self._answer]
            if len(others) == len(handles) or (not others and self.waited != self.asked):
                raise RuntimeError(HASTY)
            self._answer, handles = None, others
            if not others:
                return
        count = len(handles)
        # Every other handle of this session is a Known.
        if handles[0].job != self.waited or self.waited + count != self.asked:  # type: ignore[attr-defined]
            raise RuntimeError(HASTY)
        self.waited = self.asked
        self.waits.append(count)

    def end(self) -> None:
        """RuntimeError if the policy ended with jobs, or a question, that it did not wait for."""
        if self.waited != self.asked or self._answer is not None:
            raise RuntimeError(HASTY)

    def news(self) -> list[ServedJob]:
        """The jobs that were asked for since it was last asked."""
        job, target, draft, step = self._told
        found: list[ServedJob] = []
        steps: dict[int, Forwards] = {}
        if len(self._steps) > step:
            for number, rows, before, times in zip(*[iter(self._steps[step:])] * 4, strict=True):
                steps[number] = (*steps.get(number, ()), (rows, before + rows, times))
        for number in range(job, self.asked):
            model = self._models[number]
            if model == TARGET:
                _, rows, context = self._target_jobs[target : target + 3]
                target += len(TARGET_COLUMNS)
            else:
                _, rows, context = self._draft_jobs[draft : draft + 3]
                draft += len(DRAFT_COLUMNS)
            found.append((MODELS[model], rows, context + rows, steps.get(number, ())))
        self._told = self.asked, target, draft, len(self._steps)
        return found

    def script(self) -> Script:
        """All that was asked for."""
        return Script(
            self._path,
            tuple(self.rounds),
            array("q", self.waits),
            self.first,
            Jobs(bytes(self._models), array("q", self._target_jobs), array("q", self._draft_jobs)),
            array("q", self._steps),
            self.questions,
        )


def write_script(
    settings: Settings,
    source: AcceptanceSource,
    prompt: Sequence[int],
    decode: Policy | None = None,
    ngrams: NGrams = NONE,
    repetitions: Repetitions | None = None,
) -> Script:
    """Run a policy over one path to its end; `prompt`: its tokens, at least one; `repetitions`: those of the text.

    ConfigurationError if there is no such policy, or if it wants more branches than the source knows candidates.
    """
    session = ScriptSession(source, prompt, ngrams, repetitions or Repetitions())
    for handles in (decode or load_policy(settings.policy))(session, settings):
        session.wait(handles)
    session.end()
    return session.script()
