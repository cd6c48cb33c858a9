"""How configurations are called: in words for people, and what the letters of their short form mean. Torch-free."""

from collections.abc import Iterable

from engine.configuration import FIELD_NAMES, Configuration, FieldName

NAMES = {"adaedl": "AdaEDL", "pearl": "PEARL", "specbranch": "SpecBranch", "echo": "ECHO"}
METHODS = {
    "autoregressive": "autoregressive decoding",
    "speculative": "standard speculative decoding",
    "prompt-lookup": "prompt lookup",
    "tree": "a static token tree",
    "length-by-load": "draft length by load",
}
SEATS = {
    "at-once": "separate devices",
    "in-turn": "one shared device",
    "threads": "two streams of one device",
}
PLACES = {"at-once": "at once", "in-turn": "in turn", "threads": "in threads"}


def policy_name(policy: str) -> str:
    """The method's name as its papers write it."""
    return NAMES.get(policy, policy)


def method_name(policy: str) -> str:
    """The method in a sentence."""
    return METHODS.get(policy, policy_name(policy))


def in_words(c: Configuration, placed: bool = True) -> str:
    """A configuration for people: the method, what it is set to, and where it runs. Its own for each short form."""
    used = [_in_words(c, name, value) for name, value in c.said()]
    parts = [method_name(c.policy), *used, SEATS[c.placement] if placed else ""]
    return ", ".join(part for part in parts if part)


def _in_words(c: Configuration, name: FieldName, value: object) -> str:
    said = name.words.format(value)
    if name.field == "branches":
        return ("up to " if c.adaptive_branches else "") + said + ("es" if c.branches > 1 else "")
    return "draft" if name.field == "draft" and value == "draft" else said


def legend(configurations: Iterable[Configuration]) -> str:
    """What the letters mean that stand in the short forms of these configurations; empty if there are none."""
    shown = {
        word[0]
        for c in configurations
        for word in c.label().removeprefix(c.policy).split()
        if word[1:2].isdigit() and word != c.draft
    }
    named = [(name.short[0], name.meaning) for name in FIELD_NAMES if name.meaning]
    return "; ".join(f"{letter}: {meaning}" for letter, meaning in named if letter in shown)
