"""Decoding policies: one file each. A module here that defines `decode(session, settings)` is a policy."""

import difflib
import pkgutil
from collections.abc import Callable
from importlib import import_module

from engine.errors import ConfigurationError
from engine.policies.settings import Settings
from engine.policies.words import Session, Steps

Policy = Callable[[Session, Settings], Steps]


def load_policy(name: str) -> Policy:
    """The `decode` of policy `name`; ConfigurationError, naming the nearest, if there is none."""
    modules = [m.name for m in pkgutil.iter_modules(__path__)]
    decode: Policy | None = None
    if name in modules:
        decode = getattr(import_module(f"{__name__}.{name}"), "decode", None)
    if decode is None:
        nearest = difflib.get_close_matches(name, modules, n=1)
        hint = f", did you mean '{nearest[0]}'" if nearest else ""
        raise ConfigurationError(f"there is no policy '{name}'{hint}; policies live in engine/policies/")
    return decode
