"""Who competes: one row for what two budgets would run alike, and every row with the settings it should have."""

from engine.configuration import Configuration
from reports.bench.contestants import MODES, Contestant, at_length, budgets_of, drawn, families

DRAFTS = ("int8", "distilled")


def test_budgets_share_out_the_cores() -> None:
    one, every = budgets_of((0, 1, 2, 3))
    assert (one.in_turn, one.at_once) == ((0,), (0, 1))
    assert every.in_turn == every.at_once == (0, 1, 2, 3)
    assert [budget.at_once for budget in budgets_of((5,))] == [None, None]


def test_what_two_budgets_run_alike_is_one_row() -> None:
    for mode in MODES:
        found = families(mode, budgets_of((0, 1)), DRAFTS)
        assert len({family.key for family in found}) == len(found)
        for family in found:
            assert len(set(family.candidates)) == len(family.candidates)
            assert {c.cores for c in family.candidates} == {family.cores}
            if family.entry.at_once or (family.entry.alone and len(family.cores) == 1):
                assert family.budgets == (1, 2)
            else:
                assert family.budgets == ((1,) if len(family.cores) == 1 else (2,))


def test_cuda_devices_are_one_budget_and_streams_are_tried_first() -> None:
    for devices, parallel in ((1, ("threads", "at-once")), (2, ("at-once",))):
        budgets = budgets_of((0, 1, 2), devices)
        found = families("greedy", budgets, DRAFTS)
        assert all(family.budgets == (1, 2) and family.cores == () for family in found)
        placements = [
            c.method.placement for f in found for c in f.candidates if isinstance(c.method, Configuration)
        ]
        assert set(placements) == {"in-turn", *parallel}
        (pearl,) = (f for f in found if f.entry.name == "PEARL" and f.draft == "int8")
        assert isinstance(pearl.candidates[0].method, Configuration)
        assert pearl.candidates[0].method.placement == parallel[0]
        assert "core" not in pearl.candidates[0].label()
        (balanced,) = (f for f in found if f.entry.balanced and f.draft == "int8")
        methods = [c.method for c in at_length(balanced, 5).candidates]
        assert [m.placement for m in methods if isinstance(m, Configuration)] == list(parallel)
        assert all(isinstance(m, Configuration) and m.draft_length == 5 for m in methods)


def test_on_more_cores_placements_at_once_differ_by_budget() -> None:
    found = families("greedy", budgets_of((0, 1, 2, 3)), DRAFTS)
    pearl = [family for family in found if family.entry.name == "PEARL"]
    assert sorted((family.budgets, len(family.cores)) for family in pearl) == [
        ((1,), 2),
        ((1,), 2),
        ((2,), 4),
        ((2,), 4),
    ]


def test_one_core_has_no_placement_at_once_and_one_row_for_both_budgets() -> None:
    found = families("greedy", budgets_of((0,)), DRAFTS)
    assert not any(family.entry.at_once for family in found)
    assert {family.budgets for family in found} == {(1, 2)}


def test_drafts_have_rows_of_their_own_where_they_should() -> None:
    budgets = budgets_of((0, 1))
    greedy = families("greedy", budgets, DRAFTS)
    assert {f.draft for f in greedy if f.entry.name == "speculative"} == set(DRAFTS)
    (sampled,) = [
        f for f in families("sampled", budgets, DRAFTS) if f.entry.name == "speculative" and len(f.cores) == 1
    ]
    assert {c.draft for c in sampled.candidates} == set(DRAFTS)
    assert not any(f.entry.predicts for f in greedy)
    taught = families("greedy", budgets, DRAFTS, predictors={"int8"})
    assert {f.draft for f in taught if f.entry.predicts} == {"int8"}
    assert all(not f.entry.drafts for f in families("greedy", budgets, ()))
    assert all(len(f.candidates) == 1 for f in families("greedy", budgets, DRAFTS, most=1))


def test_draft_tokens_are_drawn_where_a_policy_can() -> None:
    def first(name: str) -> Contestant:
        return next(
            f for f in families("greedy", budgets_of((0, 1)), DRAFTS) if f.entry.name == name
        ).candidates[0]

    speculative = drawn(first("speculative"))
    assert speculative is not None
    assert "drawn" in speculative.label()
    assert drawn(first("prompt lookup")) is None
    assert drawn(first("transformers assisted")) is None
