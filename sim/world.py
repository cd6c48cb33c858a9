"""One simulated generation: the policy's session over SimPy.

Tokens come from an acceptance source, durations from the costs, and what each forward has to read from the
engine's own `Ledger`, kept here for both models as a worker keeps it (see `engine.worker_process.Hosted`).
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import simpy

from engine.ledger import Ledger, Rewound
from engine.policies import Policy, load_policy
from engine.policies.settings import Settings
from engine.policies.words import Draft, DraftLimits, Line, Round, Steps, Verdict
from engine.record import Ending, Job, Run
from sim.acceptance import AcceptanceSource, agreement
from sim.costs import Costs
from sim.devices import Devices, Handle, Model
from sim.what_if import Link

PROMPT_TOKEN = 0  # a prompt's tokens are only counted where none was recorded
NO_TOKEN = -(2**31)  # what the target would write past the end of its path; no draft writes it


@dataclass
class Books:
    """A model's cache, and the text it was last told, which its cache is known to agree with.

    `branches` and `reads`: what the last job wrote, and how many tokens of each it read. They enter the ledger
    when it is known which one the next context goes on with, since the slots of the others never matter.
    """

    ledger: Ledger = field(default_factory=Ledger)
    told: int = 0
    branches: tuple[Line, ...] = ()
    reads: tuple[int, ...] = ()

    def rewind(self, context: Sequence[int], told: int) -> Rewound:
        """See `Ledger.rewind`; `told` tokens of the context are the text that this model now knows."""
        at = len(self.ledger.tokens)
        if self.branches and len(context) > at:
            following = context[at]
            self.ledger.branches = [
                (list(branch.tokens[: self.reads[index]]), self._slots(index))
                for index, branch in enumerate(self.branches)
                if branch.tokens[0] == following
            ]
        rewound = self.ledger.rewind(context, self.told)
        self.told = told
        return rewound

    def _slots(self, branch: int) -> list[int]:
        """Where `Ledger.read_branches` puts a branch's tokens: each step reads the branches in their order."""
        begin, count, read = len(self.ledger.tokens), len(self.reads), self.reads[branch]
        if min(self.reads) == max(self.reads):
            return list(range(begin + branch, begin + count * read, count))
        slots = []
        for step in range(read):
            slots.append(begin + sum([other > step for other in self.reads[:branch]]))
            begin += sum([other > step for other in self.reads])
        return slots

    def write(self, draft: Draft, limits: DraftLimits) -> Sequence[int]:
        """Note a draft behind the prefix; returns how many branches each forward but the first one read.

        A branch's tokens are all read but the last of one that reached the full length (see
        `engine.decoding.write_branches`).
        """
        most, steps = limits.length - 1, draft.steps - 1
        self.branches = draft.branches
        self.reads = reads = tuple([min(len(branch.tokens), most) for branch in draft.branches])
        if min(reads) == steps:
            return (len(reads),) * steps
        return [sum([read > step for read in reads]) for step in range(steps)]


@dataclass
class SimulatedSession:
    """Implements `engine.policies.words.Session` over a SimPy environment.

    `text` begins with the prompt; `position` counts the tokens of the path that were written.
    """

    env: simpy.Environment
    devices: Devices
    source: AcceptanceSource
    costs: Costs
    text: list[int]
    link: Link | None = None
    position: int = 0
    first_token_seconds: float = 0.0
    rounds: list[Round] = field(default_factory=list)
    jobs: list[tuple[Model, int, Handle[Any], int, int]] = field(default_factory=list)
    _target: Books = field(default_factory=Books)
    _draft: Books = field(default_factory=Books)

    def __post_init__(self) -> None:
        self._path = self.source.path

    @property
    def finished(self) -> bool:
        return self.position >= len(self._path)

    def verify(self, line: Line, foresee: int = 0) -> Handle[Verdict]:
        accepted = agreement(self._path, self.position, line.tokens)
        at = self.position + accepted
        outlook = self.source.foresee(at, foresee) if foresee and at < len(self._path) else None
        verdict = Verdict(accepted, self._path[at] if at < len(self._path) else NO_TOKEN, outlook)
        books = self._target
        unread = books.rewind(self.text, len(self.text)).unread
        context, reads = len(books.ledger.tokens), (*unread, *line.tokens)
        books.ledger.read(reads)
        seconds = self.costs.target_forward(len(reads), context)
        handle = self.devices.submit(
            self.env.now, "target", seconds, verdict, after=self.costs.hand_over(context)
        )
        self.jobs.append(("target", len(self.rounds), handle, 1, len(reads)))
        return handle

    def draft(self, line: Line, limits: DraftLimits) -> Handle[Draft]:
        books, tokens = self._draft, line.tokens
        news = len(self.text) - books.told + len(tokens)
        opened = len(books.branches)
        rewound = books.rewind([*self.text, *tokens] if tokens else self.text, len(self.text))
        context, unread = len(books.ledger.tokens), len(rewound.unread)
        books.ledger.read(rewound.unread)
        agreed = agreement(self._path, self.position, tokens)
        draft = self.source.write(self.position, tokens, agreed, limits)
        active = books.write(draft, limits)
        seconds = self.costs.draft_forward(unread, context)
        if active:
            seconds += self.costs.branch_steps(active, context + unread)
        if rewound.slots:
            seconds += self.costs.fork(opened, rewound.start)
        before, after = 0.0, self.costs.hand_over(context)
        if self.link is not None:
            before = self.link.seconds(news)
            after += self.link.seconds(sum(map(len, draft.branches)))
        handle = self.devices.submit(self.env.now, "draft", seconds, draft, before, after)
        self.jobs.append(("draft", len(self.rounds), handle, draft.steps, unread + sum(active)))
        return handle

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


def play(settings: Settings, decode: Policy, source: AcceptanceSource, setting: Setting) -> SimulatedSession:
    """Run a policy over one path to its end; the session's clock then stands at the run's seconds."""
    env = simpy.Environment()
    devices = Devices(setting.shared, setting.costs.slow_downs)
    text = list(setting.prompt)
    link = None if setting.shared else setting.link
    session = SimulatedSession(env, devices, source, setting.costs, text, link)
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
        if ready > env.now:
            yield env.timeout(ready - env.now)
