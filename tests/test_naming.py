"""A configuration in words: as telling as its short form, whose letters a legend explains."""

import itertools

from engine.configuration import Configuration
from engine.naming import in_words, legend
from engine.policies import policy_names


def configurations() -> list[Configuration]:
    """Every policy with every setting at two values."""
    fields: dict[str, tuple[object, object]] = {
        "draft_length": (1, 3),
        "branches": (1, 4),
        "min_confidence": (0.0, 0.3),
        "adaptive_branches": (True, False),
        "min_bound": (0.4, 0.5),
        "guesses": (0, 2),
        "repeats": (0, 7),
        "second_under": (0.0, 0.5),
        "tree_nodes": (12, 20),
        "rank_acceptance": ("0.7/0.1", "0.6/0.2"),
        "lengths_by_load": ("1-:2", "1-4:4/5:2/6-:0"),
        "gates": ("1:0.2/4:0.3", "2:0.5"),
        "tree_width": (4, 2),
        "batch_nodes": (32, 8),
        "longest_match": (3, 5),
        "first_match": (False, True),
        "hrad": (False, True),
        "redraft": (False, True),
        "draw_drafts": (False, True),
        "placement": ("at-once", "in-turn"),
        "draft": (None, "int8"),
    }
    made = []
    for policy in policy_names():
        for one, other in itertools.combinations(fields, 2):
            for a, b in itertools.product(fields[one], fields[other]):
                made.append(Configuration.model_validate({"policy": policy, one: a, other: b}))
    return made


def test_words_tell_apart_what_short_forms_tell_apart() -> None:
    words: dict[str, str] = {}
    for c in configurations():
        assert words.setdefault(c.label(), in_words(c)) == in_words(c)
    assert len(set(words.values())) == len(words)


def test_words_are_the_houses() -> None:
    c = Configuration(policy="specbranch", draft="int8", draft_length=3, branches=4)
    assert in_words(c) == "SpecBranch, int8 draft, length 3, up to 4 branches, separate devices"
    named = c.model_copy(update={"draft": "draft"})  # as a folder may be called
    assert in_words(named, placed=False) == "SpecBranch, draft, length 3, up to 4 branches"
    assert in_words(c, placed=False) == "SpecBranch, int8 draft, length 3, up to 4 branches"


def test_a_legend_explains_the_letters_that_stand_there_and_no_others() -> None:
    for c in configurations():
        letters = {word[0] for word in c.label().removeprefix(c.policy).split() if word[1:2].isdigit()}
        assert {part[0] for part in legend([c]).split("; ") if part} == letters
    assert legend([Configuration(policy="autoregressive")]) == ""
    named = Configuration(policy="speculative", draft="x7", draft_length=2)  # a draft's name is no letter
    assert legend([named]).startswith("g: ")
    assert "x:" not in legend([named])
