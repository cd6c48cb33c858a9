"""A workload: which requests arrive, when, how long they are, and what they may take. Torch-free.

One schema for the engine and for the simulator. All that is drawn follows the workload's seed, whatever serves it: the
i-th request is the same one at every load and for every policy.
"""

import csv
import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from engine.errors import ConfigurationError
from engine.frozen_record import FrozenRecord
from engine.policies import uses
from engine.policies.settings import Settings

REQUESTS = 200  # where nothing says how many
TRACE_COLUMNS = ("arrived_at", "num_prefill_tokens", "num_decode_tokens")

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


class Arrivals(FrozenRecord):
    """When requests arrive: at a rate, in a closed loop of users, or as a trace says."""

    rate: float | None = Field(default=None, gt=0, description="requests a second, independently (Poisson)")
    users: int | None = Field(
        default=None, ge=1, description="a closed loop: each asks again when it has its answer"
    )
    think_seconds: float = Field(
        default=0.0, ge=0, description="of a user, from an answer to the next request; mean of an exponential"
    )
    trace: Path | None = Field(
        default=None, description=f"a CSV file with the columns {', '.join(TRACE_COLUMNS)}"
    )
    time_scale: float = Field(
        default=1.0, gt=0, description="what a trace's seconds are multiplied by; 2: half the load"
    )

    @model_validator(mode="after")
    def _one(self) -> "Arrivals":
        if sum(given is not None for given in (self.rate, self.users, self.trace)) != 1:
            raise PydanticCustomError("one_of", "needs one of 'rate', 'users' or 'trace'")
        if self.think_seconds and self.users is None:
            raise PydanticCustomError("one_of", "'think_seconds' goes with 'users'")
        if self.time_scale != 1.0 and self.trace is None:
            raise PydanticCustomError("one_of", "'time_scale' goes with 'trace'")
        return self

    def label(self) -> str:
        """In words for a table."""
        if self.rate is not None:
            return f"{self.rate:g} requests/s"
        if self.users is not None:
            users = f"{self.users} user{'s' if self.users > 1 else ''}"
            return f"{users}, thinking {self.think_seconds:g} s" if self.think_seconds else users
        assert self.trace is not None
        return self.trace.name if self.time_scale == 1.0 else f"{self.trace.name}, time x{self.time_scale:g}"


class Lognormal(FrozenRecord):
    """A long tail: half of all counts are up to `median`, and 19 of 20 up to `p95`."""

    median: float = Field(ge=1)
    p95: float = Field(ge=1)

    @model_validator(mode="after")
    def _rises(self) -> "Lognormal":
        if self.p95 < self.median:
            raise PydanticCustomError("falls", "'p95' is at least 'median'")
        return self


class Drawn(FrozenRecord):
    """A count of tokens that is drawn for each request; at least one."""

    uniform: tuple[int, int] | None = Field(default=None, description="from the first to the second")
    geometric: float | None = Field(default=None, ge=1, description="by its mean; without memory")
    lognormal: Lognormal | None = None

    @model_validator(mode="after")
    def _one(self) -> "Drawn":
        if sum(given is not None for given in (self.uniform, self.geometric, self.lognormal)) != 1:
            raise PydanticCustomError("one_of", "needs one of 'uniform', 'geometric' or 'lognormal'")
        if self.uniform is not None and not 1 <= self.uniform[0] <= self.uniform[1]:
            raise PydanticCustomError("falls", "'uniform' goes from a count of 1 or more to one not below it")
        return self

    def draw(self, rng: np.random.Generator, count: int) -> Counts:
        """So many counts; int64 [count]."""
        if self.uniform is not None:
            low, high = self.uniform
            return np.asarray(rng.integers(low, high, size=count, endpoint=True), dtype=np.int64)
        if self.geometric is not None:
            return np.asarray(rng.geometric(1.0 / self.geometric, size=count), dtype=np.int64)
        assert self.lognormal is not None
        its = self.lognormal
        sigma = np.log(its.p95 / its.median) / 1.6448536269514722  # the normal law's 95th percentile
        drawn = np.exp(np.log(its.median) + sigma * rng.standard_normal(count))
        return np.asarray(np.maximum(np.rint(drawn), 1), dtype=np.int64)


def _is_drawn(value: Any) -> str:
    return "drawn" if isinstance(value, dict | Drawn) else "fixed"


Tokens = Annotated[
    Annotated[int, Field(ge=1), Tag("fixed")] | Annotated[Drawn, Tag("drawn")], Discriminator(_is_drawn)
]
"""A count of tokens, the same for all requests, or how it is drawn for each."""


class Limits(FrozenRecord):
    """What a request may take to be a good one; none: as long as it likes."""

    first_token_seconds: float | None = Field(
        default=None, gt=0, description="from its arrival to its first token"
    )
    token_seconds: float | None = Field(
        default=None, gt=0, description="for each token behind the first, in the mean of the request"
    )


class Workload(FrozenRecord):
    """Requests as they arrive; a trace has lengths of its own, which take the place of those stated here."""

    arrivals: Arrivals
    requests: int | None = Field(default=None, ge=1, description=f"none: all of a trace, or {REQUESTS}")
    prompt_tokens: Tokens = 1
    tokens: Tokens = 128
    limits: Limits = Limits()
    seed: int = Field(default=0, ge=0)


def read_loads(
    users: str | None,
    rates: str | None,
    trace: Path | None = None,
    *,
    think_seconds: float = 0.0,
    time_scale: float = 1.0,
    default: str = "1,4,16",
) -> list[Arrivals]:
    """The loads that options name: numbers of users or rates, with commas between, or a trace; none: `default` users.

    ConfigurationError for several of them at once, and for what is no number.
    """
    if sum(named is not None for named in (users, rates, trace)) > 1:
        raise ConfigurationError("requests come by --users, --rates or --arrivals; name one of them.")
    if trace is None and time_scale != 1.0:
        raise ConfigurationError("--time-scale goes with --arrivals.")
    if (trace is not None or rates is not None) and think_seconds:
        raise ConfigurationError("--think-seconds goes with --users.")
    if trace is not None:
        return [Arrivals(trace=trace, time_scale=time_scale)]
    option, said = ("--rates", rates) if rates is not None else ("--users", users or default)
    try:
        if rates is not None:
            return [Arrivals(rate=float(word)) for word in said.split(",")]
        return [Arrivals(users=int(word), think_seconds=think_seconds) for word in said.split(",")]
    except ValueError as error:  # also pydantic's
        raise ConfigurationError(
            f"{option} '{said}' is no list of numbers above 0 with commas between, such as 1,4."
        ) from error


@dataclass(frozen=True)
class Requests:
    """The requests of a workload, in their order: int64 or float64 [n] each.

    `at`: seconds to a request's arrival from the beginning or, in a closed loop of `users`, from when its user is free.
    """

    at: Floats
    prompt_tokens: Counts
    tokens: Counts
    users: int | None = None

    def __len__(self) -> int:
        return len(self.at)


def draw_requests(workload: Workload) -> Requests:
    """The requests of a workload. ConfigurationError if its trace cannot be read.

    Each of times, prompts and lengths has a stream of its own: another load does not change a request's length, and
    at another rate the times between arrivals are the same ones, longer or shorter.
    """
    arrivals, seed = workload.arrivals, workload.seed
    times, prompts, lengths = (np.random.default_rng([seed, stream]) for stream in range(3))
    if arrivals.trace is not None:
        return read_trace(arrivals.trace, arrivals.time_scale, workload.requests)
    count = workload.requests or REQUESTS
    between = times.standard_exponential(count)
    at = np.cumsum(between) / arrivals.rate if arrivals.rate else between * arrivals.think_seconds
    if arrivals.users is not None:
        at[: arrivals.users] = 0.0  # all of them begin at once
    return Requests(
        at,
        _counts(workload.prompt_tokens, prompts, count),
        _counts(workload.tokens, lengths, count),
        arrivals.users,
    )


def slots_needed(settings: Settings, prompt_tokens: int, max_tokens: int) -> int:
    """How many slots a request's text takes in either cache at most, with what is drafted beyond it."""
    longest = settings.draft_length
    if "lengths_by_load" in uses(settings.policy):
        longest = max(longest, *(length for *_, length in settings.lengths))
    written = longest + settings.guesses  # of a branch
    line = max(written, settings.repeats)
    # A line and its second choices, or a line and the branches, the tree or the candidates behind it.
    beyond = max(line, settings.branches * written, settings.tree_nodes, settings.tree_width)
    return prompt_tokens + max_tokens + line + beyond


def _counts(tokens: "int | Drawn", rng: np.random.Generator, count: int) -> Counts:
    return np.full(count, tokens, dtype=np.int64) if isinstance(tokens, int) else tokens.draw(rng, count)


def read_trace(path: Path, time_scale: float = 1.0, count: int | None = None) -> Requests:
    """The first `count` requests (none: all) of a trace, whose first arrival is the beginning.

    Columns as in the traces of Azure's language models of 2023 that come with Vidur (Agrawal et al. 2024): seconds,
    tokens of the prompt, tokens written. Others are left alone. ConfigurationError, by file and line, for what is
    wrong.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            _has_columns(path, reader.fieldnames or ())
            rows: list[tuple[float, int, int]] = []
            for row in reader:
                if count is not None and len(rows) == count:
                    break
                rows.append(_trace_row(f"{path}:{reader.line_num}", row))
    except OSError as error:
        raise ConfigurationError(f"{path}: a trace cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: cannot be read as text ({error})") from error
    if not rows:
        raise ConfigurationError(f"{path}: the trace has no requests")
    if count is not None and len(rows) < count:
        raise ConfigurationError(f"{path}: the trace has {len(rows)} requests, and {count} are asked for")
    at, prompts, tokens = zip(*sorted(rows, key=lambda row: row[0]), strict=True)
    return Requests(
        (np.array(at) - at[0]) * time_scale,
        np.array(prompts, dtype=np.int64),
        np.array(tokens, dtype=np.int64),
    )


def _has_columns(path: Path, names: Sequence[str]) -> None:
    for column in TRACE_COLUMNS:
        if column not in names:
            nearest = difflib.get_close_matches(column, [str(name) for name in names], n=1)
            hint = f", though a column '{nearest[0]}'" if nearest else ""
            raise ConfigurationError(f"{path}:1: a trace has a column '{column}'; this one has none{hint}")


def _trace_row(where: str, row: dict[str, str | None]) -> tuple[float, int, int]:
    found = []
    for column in TRACE_COLUMNS:
        try:
            found.append(float(row[column] or ""))
        except ValueError:
            raise ConfigurationError(f"{where}: '{column}' is '{row[column]}', which is no number") from None
    at, prompt, tokens = found
    if not np.isfinite(at) or prompt < 1 or tokens < 1 or prompt % 1 or tokens % 1:
        raise ConfigurationError(
            f"{where}: a request has a time, and whole tokens, one or more, of both kinds"
        )
    return at, int(prompt), int(tokens)
