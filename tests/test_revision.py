"""The engine's revision follows what is timed and recorded, and neither words nor layout."""

import ast
import textwrap

import pytest

from calibrate.revision import engine_revision, measured_modules, revision_of

FORWARD = '''
def forward(rows):
    """What a forward does."""
    total = 0
    for row in rows:
        total += row * 2  # a comment
    return total
'''
SAME = '''
# The same, said otherwise.


def forward(rows):
    """Other words,

    and more of them.
    """

    total = 0
    for row in rows:
        total += (
            row
            * 2
        )
    return total
'''


def revision(**sources: str) -> str:
    return revision_of({name: ast.parse(source) for name, source in sources.items()})


def test_words_and_layout_are_no_revision() -> None:
    assert revision(a=FORWARD) == revision(a=SAME)
    assert revision(a=FORWARD, b=SAME) == revision(b=FORWARD, a=SAME)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("= 0", "= 1"),
        ("* 2", "* 3"),
        ("+= row", "-= row"),
        ("in rows:", "in rows[:2]:"),
        ("(rows)", "(rows, k=0)"),
    ],
)
def test_what_is_computed_is(old: str, new: str) -> None:
    changed = FORWARD.replace(old, new)
    assert changed != FORWARD
    assert revision(a=changed) != revision(a=FORWARD)
    assert revision(a=FORWARD, b=changed) != revision(a=changed, b=FORWARD)


def test_a_string_that_is_used_is_no_docstring() -> None:
    one, other = (textwrap.dedent(f"mode = '{mode}'") for mode in ("fast", "slow"))
    assert revision(a=one) != revision(a=other)


def test_what_runs_in_a_worker_is_measured_and_policies_are_not() -> None:
    modules = measured_modules()
    computing = {
        "models.llama",
        "models.fused_llama",
        "models.transformers_model",
        "models.cached_model",
        "models.reader",
        "models.decoding",
        "models.distributions",
        "kernels.dots",
    }
    assert {f"engine.{name}" for name in computing} <= modules.keys()
    assert {
        "calibrate.costs.operations",
        "calibrate.traces.observation",
        "engine.runtime.worker_process",
    } <= modules.keys()
    apart = ("engine.policies", "reports", "sim", "calibrate.artifact", "engine.drafts.training_prompts")
    assert not [name for name in modules if name.startswith(apart)]
    assert engine_revision() == revision_of(modules)
