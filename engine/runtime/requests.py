"""A request as the engine serves it, beside others. Torch-free."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from engine.models.sampling import GREEDY, Sampling
from engine.policies.settings import Settings
from engine.runtime.session import Stopped, never
from engine.runtime.workload import slots_needed


@dataclass(frozen=True)
class Request:
    """A text that is asked for: up to `max_tokens` tokens after `prompt` (ids, at least one), by a policy.

    It ends with one of `end_tokens`, or when `stopped` says so of it; `on_text` hears each stretch as it is written.
    """

    prompt: Sequence[int]
    settings: Settings
    max_tokens: int
    end_tokens: Collection[int] = ()
    sampling: Sampling = GREEDY
    on_text: Callable[[Sequence[int]], None] | None = None
    stopped: Stopped = never

    @property
    def slots(self) -> int:
        """How many slots its text takes in either cache at most, with what is drafted beyond it."""
        return slots_needed(self.settings, len(self.prompt), self.max_tokens)
