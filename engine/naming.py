"""How configurations are called: in words for people, and what the letters of their short form mean. Torch-free."""

from collections.abc import Iterable

from engine.configuration import Configuration

NAMES = {"adaedl": "AdaEDL", "pearl": "PEARL", "specbranch": "SpecBranch"}
METHODS = {
    "autoregressive": "autoregressive decoding",
    "speculative": "standard speculative decoding",
    "prompt-lookup": "prompt lookup",
}
SEATS = {
    "at-once": "separate devices",
    "in-turn": "one shared device",
    "threads": "two streams of one device",
}
PLACES = {"at-once": "at once", "in-turn": "in turn", "threads": "in threads"}
LETTERS = {
    "draft_length": ("g", "tokens of a draft"),
    "branches": ("k", "branches, with an a up to so many"),
    "min_confidence": ("c", "drafts are cut before a token of less confidence"),
    "min_bound": ("b", "drafts are cut where the bound on acceptance is less"),
    "longest_match": ("m", "tokens to match at most"),
    "guesses": ("n", "guesses that a draft forward checks at most"),
    "repeats": ("r", "tokens of repetitions that lengthen a line at most"),
    "second_under": ("s", "second choices are judged where the first has less confidence"),
}


def policy_name(policy: str) -> str:
    """The method's name as its papers write it."""
    return NAMES.get(policy, policy)


def method_name(policy: str) -> str:
    """The method in a sentence."""
    return METHODS.get(policy, policy_name(policy))


def in_words(c: Configuration, placed: bool = True) -> str:
    """A configuration for people: the method, what it is set to, and where it runs. Its own for each short form."""
    said = {
        "draft": c.draft if c.draft in (None, "draft") else f"{c.draft} draft",
        "draft_length": f"length {c.draft_length}",
        "branches": _branches(c),
        "min_confidence": f"cut under {c.min_confidence:g}" if c.min_confidence else "",
        "min_bound": f"bound {c.min_bound:g}",
        "longest_match": f"matching {c.longest_match}",
        "first_match": "first match" if c.first_match else "",
        "guesses": f"guesses {c.guesses}" if c.guesses else "",
        "repeats": f"repetitions {c.repeats}" if c.repeats else "",
        "second_under": f"second choices under {c.second_under:g}" if c.second_under else "",
        "hrad": "H-RAD" if c.hrad else "",
        "redraft": "redrafting" if c.redraft else "",
        "draw_drafts": "drawn drafts" if c.draw_drafts else "",
    }
    used = [words for name, words in said.items() if name in c.uses]
    parts = [method_name(c.policy), *used, SEATS[c.placement] if placed else ""]
    return ", ".join(part for part in parts if part)


def legend(configurations: Iterable[Configuration]) -> str:
    """What the letters mean that stand in the short forms of these configurations; empty if there are none."""
    shown = {
        word[0]
        for c in configurations
        for word in c.label().removeprefix(c.policy).split()
        if word[1:2].isdigit() and word != c.draft
    }
    return "; ".join(f"{letter}: {meaning}" for letter, meaning in LETTERS.values() if letter in shown)


def _branches(c: Configuration) -> str:
    count = f"{c.branches} branch" + ("es" if c.branches > 1 else "")
    return f"up to {count}" if c.adaptive_branches else count
