"""One simulated generation: the policy's session over SimPy.

Tokens come from an acceptance source, durations from the costs, and what each forward has to read from `Books`,
kept for both models as a worker keeps its `Ledger` (see `engine.worker_process.Hosted`).
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import simpy

from engine.policies import Policy, load_policy
from engine.policies.settings import Settings
from engine.policies.words import Draft, DraftLimits, Line, Round, Steps, Verdict
from engine.record import Ending, Job, Run
from sim.acceptance import AcceptanceSource, agreement
from sim.costs import Costs
from sim.devices import Devices, Handle, Model
from sim.what_if import Link

PROMPT_TOKEN = 0  # a prompt's tokens are only counted where none was recorded
# Many verdicts are the same, and to find one is faster than to make one.
_verdict = lru_cache(maxsize=1 << 16)(Verdict)
NO_TOKEN = -(2**31)  # what the target would write past the end of its path; no draft writes it


@dataclass(slots=True)
class Books:
    """What a model's cache holds, by counts: the same as `engine.ledger.Ledger` where the text only ever grows.

    The model was told `told` tokens of text and holds them, and `line` behind them; behind that, its last job
    wrote `branches`, of which it read `reads` tokens each. Only tokens behind `told` are ever compared, so a
    round costs no more where the text is long.
    """

    told: int = 0
    line: tuple[int, ...] = ()
    branches: tuple[Line, ...] = ()
    reads: tuple[int, ...] = ()

    def rewind(self, news: tuple[int, ...], line: tuple[int, ...]) -> tuple[int, int, int]:
        """Go on with the text, `news` longer than was told, and `line`, which are read to their end.

        How many tokens are kept, how many of a branch move to their place for it (as many as
        `engine.ledger.Rewound.slots`), and how many are left to read: at least the last one.
        """
        following = news + line
        last, held = len(following) - 1, len(self.line)
        kept = agreement(following, 0, self.line) if held else 0
        if kept > last:
            kept = last
        best = ahead = moved = 0
        if kept == held < last:
            for index, branch in enumerate(self.branches):
                if branch.tokens[0] == following[held]:
                    agreed = agreement(following[:last], held, branch.tokens[: self.reads[index]])
                    if agreed > ahead:
                        best, ahead = index, agreed
            kept += ahead
            # Every step reads the branches in their order, so only the first one begins in its place.
            if best > 0 or (ahead > 1 and len(self.branches) > 1):
                moved = ahead
        start = self.told + kept
        self.told, self.line, self.branches = self.told + len(news), line, ()
        return start, moved, len(following) - kept

    def write(self, draft: Draft, limits: DraftLimits) -> Sequence[int]:
        """Note a draft behind the line; returns how many branches each forward but the first one read.

        A branch's tokens are all read but the last of one that reached the full length (see
        `engine.decoding.write_branches`).
        """
        most, steps, branches = limits.length - 1, draft.steps - 1, draft.branches
        self.branches = branches if most else ()  # tokens of drafts of length 1 are never read
        if len(branches) == 1:
            self.reads = (steps,)
            return (1,) * steps
        self.reads = reads = tuple([min(len(branch.tokens), most) for branch in branches])
        if min(reads) == steps:
            return (len(reads),) * steps
        return [sum([read > step for read in reads]) for step in range(steps)]


@dataclass
class SimulatedSession:
    """Implements `engine.policies.words.Session` over a SimPy environment.

    `text` begins with the prompt; `position` counts the tokens of the path that were written. `sampled`: tokens are
    drawn, which takes longer than choosing them.
    """

    env: simpy.Environment
    devices: Devices
    source: AcceptanceSource
    costs: Costs
    text: list[int]
    link: Link | None = None
    sampled: bool = False
    position: int = 0
    first_token_seconds: float = 0.0
    rounds: list[Round] = field(default_factory=list)
    jobs: list[tuple[Model, int, Handle[Any], int, int]] = field(default_factory=list)
    _compared: tuple[int, tuple[int, ...], int] = (0, (), 0)
    _target: Books = field(default_factory=Books)
    _draft: Books = field(default_factory=Books)

    def __post_init__(self) -> None:
        self._path, self._prompt = self.source.path, len(self.text)

    @property
    def finished(self) -> bool:
        return self.position >= len(self._path)

    def verify(self, line: Line, foresee: int = 0) -> Handle[Verdict]:
        tokens, path = line.tokens, self._path
        accepted = self._agreement(tokens)
        at = self.position + accepted
        outlook = self.source.foresee(at, foresee) if foresee and at < len(path) else None
        verdict = _verdict(accepted, path[at] if at < len(path) else NO_TOKEN, outlook)
        context, _, unread = self._target.rewind(self._news(self._target), tokens)
        seconds, after = self.costs.target_forward(unread, context), self.costs.hand_over(context)
        if self.sampled:
            seconds += self.costs.target_draw(len(tokens) + 1)
        if foresee:
            seconds += self.costs.foresight()
        handle = self.devices.submit(self.env.now, "target", seconds, verdict, after=after)
        self.jobs.append(("target", len(self.rounds), handle, 1, unread))
        return handle

    def draft(self, line: Line, limits: DraftLimits) -> Handle[Draft]:
        books, tokens, costs = self._draft, line.tokens, self.costs
        news, opened = self._news(books), len(books.branches)
        context, moved, unread = books.rewind(news, tokens)
        agreed = self._agreement(tokens)
        draft = self.source.write(self.position, tokens, agreed, limits)
        active = books.write(draft, limits)
        seconds = costs.draft_forward(unread, context)
        if active:
            seconds += costs.branch_steps(active, context + unread)
        if moved:
            seconds += costs.fork(opened, context - moved)
        if self.sampled and limits.drawn_from is not None:
            seconds += draft.steps * costs.draft_draw(len(draft.branches))
        before, after = 0.0, costs.hand_over(context)
        if self.link is not None:
            before = self.link.seconds(len(news) + len(tokens))
            after += self.link.seconds(sum(map(len, draft.branches)))
        handle = self.devices.submit(self.env.now, "draft", seconds, draft, before, after)
        self.jobs.append(("draft", len(self.rounds), handle, draft.steps, unread + sum(active)))
        return handle

    def _agreement(self, tokens: tuple[int, ...]) -> int:
        """How many of a line's tokens are right; where both models begin with one line, it is looked for once."""
        if not tokens:
            return 0
        if self._compared[:2] != (self.position, tokens):
            self._compared = self.position, tokens, agreement(self._path, self.position, tokens)
        return self._compared[2]

    def _news(self, books: Books) -> tuple[int, ...]:
        """The text that a model was not told yet; all of it at first."""
        if books.told:
            return self._path[books.told - self._prompt : self.position]
        return tuple(self.text)

    def emit(self, tokens: Sequence[int]) -> int:
        # Only accepted tokens and the target's own are ever written, so they are the path's.
        fits = min(len(tokens), len(self._path) - self.position)
        self.text.extend(tokens[:fits])
        self.position += fits
        return fits

    def close_round(self, counts: Round) -> None:
        if not self.rounds:
            self.first_token_seconds = self.env.now
        self.rounds.append(counts)


@dataclass(frozen=True)
class Setting:
    """What a run needs beside policy and path.

    With `shared` both models take turns on one device, and no `link` lies between them. `prompt`: its tokens, at
    least one.
    """

    costs: Costs
    shared: bool = False
    prompt: Sequence[int] = (PROMPT_TOKEN,)
    link: Link | None = None
    sampled: bool = False


def play(settings: Settings, decode: Policy, source: AcceptanceSource, setting: Setting) -> SimulatedSession:
    """Run a policy over one path to its end; the session's clock then stands at the run's seconds."""
    env = simpy.Environment()
    devices = Devices(setting.shared, setting.costs.slow_downs)
    text = list(setting.prompt)
    link = None if setting.shared else setting.link
    session = SimulatedSession(env, devices, source, setting.costs, text, link, setting.sampled)
    env.run(env.process(_drive(env, devices, decode(session, settings))))
    return session


def record(session: SimulatedSession, setting: Setting, ending: Ending = "token-limit") -> Run:
    """What a finished session has to tell."""
    return Run(
        world="simulator",
        tokens=session.source.path,
        rounds=tuple(session.rounds),
        jobs=tuple(
            Job(model, number, job.start, job.end, forwards, tokens)
            for model, number, job, forwards, tokens in session.jobs
        ),
        seconds=float(session.env.now),
        first_token_seconds=session.first_token_seconds,
        shared=setting.shared,
        ending=ending,
    )


def simulate(settings: Settings, source: AcceptanceSource, setting: Setting) -> Run:
    """Run one policy over one path.

    ConfigurationError if there is no such policy, or if it wants more branches than the source knows candidates.
    """
    return record(play(settings, load_policy(settings.policy), source, setting), setting)


def _drive(env: simpy.Environment, devices: Devices, steps: Steps) -> Generator[simpy.Event, Any, None]:
    for waits in steps:
        # Every handle of this world is a sim.devices.Handle.
        ready = max([devices.ready(handle) for handle in waits])  # type: ignore[arg-type]
        now = env.now
        if ready > now:
            yield env.timeout(ready - now)
