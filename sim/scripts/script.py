"""What a policy does along one path, without a clock: the work that is then given its time in `sim.world.simulation`.

A policy decides by tokens and confidences alone, and it waits for every result that it reads. So its rounds, and what
each forward has to read, are the same wherever the models run and whatever they cost: they are written down once, as
a `Script`, and timed for each placement and what-if. What a forward has to read comes from `Books`, kept for both
models as a worker keeps its `Ledger` (see `engine.runtime.worker_process.Hosted`).
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from engine.policies import Policy, load_policy
from engine.policies.ngrams import NONE, NGrams
from engine.policies.repetitions import Repetitions, for_drafts, guess_of, take
from engine.policies.settings import Settings
from engine.policies.words import Draft, DraftLimits, Handle, Line, Round, Verdict
from sim.acceptance.sources import AcceptanceSource, agreement
from sim.scripts.work import DRAFT, TARGET, Jobs, Script

PROMPT_TOKEN = 0  # a prompt's tokens are only counted where none was recorded
NO_TOKEN = -(2**31)  # what the target would write past the end of its path; no draft writes it

HASTY = "a policy has to wait for all jobs that it asked for since the last wait"

# Many verdicts are the same, and to find one is faster than to make one.
_verdict = lru_cache(maxsize=1 << 16)(Verdict)


@lru_cache
def _alone(limits: DraftLimits) -> DraftLimits:
    """The limits of a branch that is alone, were it written without guesses."""
    return replace(limits, length=limits.most, branches=1, adaptive=False, guesses=0)


@dataclass(slots=True)
class Books:
    """What a model's cache holds, by counts: the same as `engine.models.ledger.Ledger` where the text only ever grows.

    The model was told the path up to `told` and holds it, and behind it `line`, whose first `agreed` tokens are the
    path's; behind that, its last job wrote `branches`, of which it read `reads` tokens each. Only tokens behind `told`
    are ever compared, so a round costs no more where the text is long.
    """

    told: int = 0
    line: tuple[int, ...] = ()
    agreed: int = 0
    branches: tuple[Line, ...] = ()
    reads: tuple[int, ...] = ()

    def rewind(
        self, path: tuple[int, ...], position: int, line: tuple[int, ...], agreed: int
    ) -> tuple[int, int, int]:
        """Go on with the path up to `position` and `line`, which are read to their end; `agreed` of it are the path's.

        How much of the path and the line is kept, how many tokens of a branch move to their place for it (as many as
        `engine.models.ledger.Rewound.slots`), and how many are left to read: at least the last one.
        """
        told, held, kept = self.told, len(self.line), self.agreed
        news = position - told
        last = news + len(line) - 1
        if kept >= news and held > news:  # the line goes on where the text ends, so lines are compared
            kept = agreement(path[told:position] + line, 0, self.line)
        if kept > last:
            kept = last
        moved = 0
        if kept == held < last and self.branches:
            following = path[told + held : position] + line if held <= news else line[held - news :]
            first, following = following[0], following[: last - held]
            best = ahead = 0
            for index, branch in enumerate(self.branches):
                if branch.tokens[0] == first:
                    same = agreement(following, 0, branch.tokens[: self.reads[index]])
                    if same > ahead:
                        best, ahead = index, same
            kept += ahead
            # Every step reads the branches in their order, so only the first one begins in its place.
            if best > 0 or (ahead > 1 and len(self.branches) > 1):
                moved = ahead
        self.told, self.line, self.agreed, self.branches = position, line, agreed, ()
        return told + kept, moved, last + 1 - kept

    def write(self, draft: Draft, limits: DraftLimits) -> Sequence[int]:
        """Note a draft behind the line; returns how many branches each forward but the first one read.

        A branch's tokens are all read but the last of one that reached the full length (see
        `engine.models.decoding.write_branches`).
        """
        most, steps, branches = limits.length - 1, draft.steps - 1, draft.branches
        self.branches = branches if most else ()  # tokens of drafts of length 1 are never read
        if len(branches) == 1:
            self.reads = (steps,)
            return (1,) * steps
        lengths = [len(branch.tokens) for branch in branches]
        if min(lengths) > most:
            self.reads = (most,) * len(lengths)
            return (len(lengths),) * steps
        self.reads = reads = tuple([min(length, most) for length in lengths])
        return [sum([read > step for read in reads]) for step in range(steps)]


@dataclass(slots=True, eq=False)
class Known:
    """Implements `engine.policies.words.Handle`: a result that is known before its time, and the job it is of."""

    value: Any
    job: int


@dataclass(slots=True)
class ScriptSession:
    """Implements `engine.policies.words.Session`: writes down the work that a policy asks for.

    `position` counts the tokens of the path that were written behind `prompt`; `ngrams` are what is guessed by.
    """

    source: AcceptanceSource
    prompt: Sequence[int]
    ngrams: NGrams = NONE
    position: int = 0
    rounds: list[Round] = field(default_factory=list)
    waits: list[int] = field(default_factory=list)
    first: int = 0
    asked: int = 0
    waited: int = 0
    _path: tuple[int, ...] = field(init=False)
    _before: int = field(init=False)
    # Lists, since they grow faster than arrays of integers do.
    _models: list[int] = field(default_factory=list)
    _target_jobs: list[int] = field(default_factory=list)
    _draft_jobs: list[int] = field(default_factory=list)
    _steps: list[int] = field(default_factory=list)
    _compared: tuple[int, tuple[int, ...], int] = (0, (), 0)
    _repetitions: Repetitions = field(default_factory=for_drafts)
    _target: Books | None = None
    _draft: Books | None = None

    def __post_init__(self) -> None:
        self._path = self.source.path
        self._before = len(self.prompt)

    @property
    def finished(self) -> bool:
        return self.position >= len(self._path)

    @property
    def text(self) -> list[int]:
        """The prompt's tokens and those written so far."""
        return [*self.prompt, *self._path[: self.position]]

    def verify(self, line: Line, foresee: int = 0) -> Known:
        tokens, path, position, job = line.tokens, self._path, self.position, self.asked
        accepted = self._agreement(tokens) if tokens else 0
        at, beside = position + accepted, line.beside() if line.seconds else ()
        token = path[at] if at < len(path) else NO_TOKEN
        # As in `engine.runtime.worker_process.verify`: what was drafted behind a line that is rejected is lost anyway.
        foreseen = foresee and accepted == len(tokens) and at < len(path)
        outlook = self.source.foresee(at, foresee) if foreseen else None
        further = None
        if accepted < len(tokens) and (accepted, token) in beside:
            further = path[at + 1] if at + 1 < len(path) else NO_TOKEN
        verdict = _verdict(accepted, token, outlook, further)
        if self._target is None:
            self._target = Books(position, tokens, accepted)
            context, unread = 0, self._before + position + len(tokens)
        else:
            context, _, unread = self._target.rewind(path, position, tokens, accepted)
            context += self._before
        unread, chosen = unread + len(beside), len(tokens) + 1 + len(beside)
        self._models.append(TARGET)
        self._target_jobs.extend((len(self.rounds), unread, context, chosen, 1 if foresee else 0))
        self.asked = job + 1
        return Known(verdict, job)

    def draft(self, line: Line, limits: DraftLimits) -> Known:
        tokens, position, job, books = line.tokens, self.position, self.asked, self._draft
        agreed = self._agreement(tokens) if tokens else 0
        if books is None:
            self._draft = books = Books(position, tokens, agreed)
            context, moved, opened, sent = 0, 0, 0, self._before + position + len(tokens)
            unread = sent
        else:
            opened, sent = len(books.branches), position - books.told + len(tokens)
            context, moved, unread = books.rewind(self._path, position, tokens, agreed)
            context += self._before
        alone = bool(limits.guesses) and limits.branches == 1
        draft = self.source.write(position, tokens, agreed, _alone(limits) if alone else limits)
        read, forwards = unread, draft.steps
        if limits.guesses and len(draft.branches) == 1:
            if not alone:  # that there is one branch only is known behind the first forward
                draft = self.source.write(position, tokens, agreed, _alone(limits))
            guesses, draft = self._guess(draft.branches[0], line, limits)
            books.write(draft, _alone(limits))
            (guessed, _), *rows = guesses
            forwards, end = len(guesses), context + unread
            draft = Draft(draft.branches, forwards)
            read = unread = unread + guessed
            for guessed, held in rows:
                self._steps.extend((job, 1 + guessed, end + held, 1))
                read += 1 + guessed
        elif active := books.write(draft, limits):
            end, steps = context + unread, len(active)
            if active[-1] == active[0]:  # a branch that has stopped does not go on, so they never grow
                self._steps.extend((job, active[0], end, steps))
                read += active[0] * steps
            else:
                for step, count in enumerate(active):
                    self._steps.extend((job, count, end + step, 1))
                read += sum(active)
        branches = draft.branches
        self._models.append(DRAFT)
        self._draft_jobs.extend(
            (
                len(self.rounds),
                unread,
                context,
                forwards,
                read,
                opened if moved else 0,
                moved,
                len(branches) if limits.drawn else 0,
                sent,
                len(branches[0].tokens) if len(branches) == 1 else sum([len(b.tokens) for b in branches]),
            )
        )
        self.asked = job + 1
        return Known(draft, job)

    def _guess(self, whole: Line, line: Line, limits: DraftLimits) -> tuple[list[tuple[int, int]], Draft]:
        """Of each forward that writes a branch: how many tokens it checks, and of the branch has read before.

        As `engine.models.decoding.write_branches`, which does not know yet what becomes of them. And how much of
        `whole` they write, as a draft of as many steps as it would take without guesses.
        """
        guess = guess_of(self._repetitions, self.ngrams, self.text, line.tokens, limits)
        written: list[int]
        forwards: list[tuple[int, int]]
        written, forwards, going = [], [], True
        if limits.branches > 1:  # whether there are more is known behind the first forward
            written, forwards = [whole.tokens[0]], [(0, 0)]
        while going and len(forwards) < limits.length and len(written) < limits.most:
            begin = len(written)
            guessed = guess(written, limits.most - begin - 1)
            forwards.append((len(guessed), max(0, begin - 1)))
            # Behind its end the draft was not sure.
            rows = [(token, True) for token in whole.tokens[begin : begin + len(guessed) + 1]]
            rows += [(NO_TOKEN, False)] * (len(guessed) + 1 - len(rows))
            _, going = take(written, guessed, rows)
        count = len(written)
        return forwards, Draft((whole.until(count),), count if going else count + 1)

    def _agreement(self, tokens: tuple[int, ...]) -> int:
        """How many of a line's tokens are right; where both models begin with one line, it is looked for once."""
        position, line, known = self._compared
        if line is tokens and position == self.position:
            return known
        known = agreement(self._path, self.position, tokens)
        self._compared = self.position, tokens, known
        return known

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
        count = len(handles)
        # Every handle of this session is a Known.
        if handles[0].job != self.waited or self.waited + count != self.asked:  # type: ignore[attr-defined]
            raise RuntimeError(HASTY)
        self.waited = self.asked
        self.waits.append(count)

    def end(self) -> None:
        """RuntimeError if the policy ended with jobs that it did not wait for."""
        if self.waited != self.asked:
            raise RuntimeError(HASTY)

    def script(self) -> Script:
        """All that was asked for."""
        return Script(
            self._path,
            tuple(self.rounds),
            array("q", self.waits),
            self.first,
            Jobs(bytes(self._models), array("q", self._target_jobs), array("q", self._draft_jobs)),
            array("q", self._steps),
        )


def write_script(
    settings: Settings,
    source: AcceptanceSource,
    prompt: Sequence[int],
    decode: Policy | None = None,
    ngrams: NGrams = NONE,
) -> Script:
    """Run a policy over one path to its end; `prompt`: its tokens, at least one.

    ConfigurationError if there is no such policy, or if it wants more branches than the source knows candidates.
    """
    session = ScriptSession(source, prompt, ngrams)
    for handles in (decode or load_policy(settings.policy))(session, settings):
        session.wait(handles)
    session.end()
    return session.script()
