"""Decoding policies: one file each. A module here that defines `decode(session, settings)` is a policy.

It is called `NAME` or, without one, as its file is. Its `USES` names the fields of a configuration that it depends on,
`draft` among them if it drafts with a model; without it, these are the draft and its length.
"""

import difflib
import pkgutil
from collections.abc import Callable
from functools import cache
from importlib import import_module
from types import ModuleType

from engine.errors import ConfigurationError
from engine.policies.protocol import Session, Steps
from engine.policies.settings import Settings

Policy = Callable[[Session, Settings], Steps]


DEFAULT_USES = frozenset({"draft", "draft_length"})


def policy_names() -> tuple[str, ...]:
    """The policies there are, as a configuration names them."""
    return tuple(_policies())


def load_policy(name: str) -> Policy:
    """The `decode` of policy `name`; ConfigurationError, naming the nearest, if there is none."""
    decode: Policy = _policy_module(name).decode
    return decode


def uses(name: str) -> frozenset[str]:
    """The fields of a configuration that policy `name` depends on; none of them: it does not draft."""
    fields: frozenset[str] = getattr(_policy_module(name), "USES", DEFAULT_USES)
    return fields


@cache
def _policy_module(name: str) -> ModuleType:
    if found := _policies().get(name.replace("_", "-")):
        return found
    nearest = difflib.get_close_matches(name, policy_names(), n=1)
    hint = f", did you mean '{nearest[0]}'" if nearest else ""
    raise ConfigurationError(f"there is no policy '{name}'{hint}; policies live in engine/policies/")


def _policies() -> dict[str, ModuleType]:
    files = [module.name for module in pkgutil.iter_modules(__path__)]
    modules = {name: import_module(f"{__name__}.{name}") for name in files}
    return {
        getattr(module, "NAME", name.replace("_", "-")): module
        for name, module in modules.items()
        if hasattr(module, "decode")
    }
