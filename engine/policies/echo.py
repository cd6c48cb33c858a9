"""ECHO (arXiv 2604.09603): one budget of nodes for all requests of a forward, spent deeper first and then wider.

A draft writes a line and asks at each gate, a depth, whether it goes on: only if it gives the whole line more than the
gate's threshold. Who goes on asks for the nodes of the next stretch; so what is left by those who stopped goes to those
who did not. What all leave then makes trees wider where they stopped: there the draft's further candidates, which its
last forward ranked anyway, are judged beside the line's last token. The paper leaves open how the budget is chosen and
how it is shared; here it is a setting, and those who ask together have equal parts (`engine.policies.load.NodeShares`).
Its gates go by the best node of a depth; of a line and siblings that is always the line's own.
"""

from functools import cache

from engine.policies.forms import Parents, Shape, shared
from engine.policies.load import LoadQuestion
from engine.policies.protocol import DraftLimits, Session, Steps, commit, result
from engine.policies.settings import Settings
from engine.policies.tree import EMPTY, TokenTree, line_of, with_siblings

USES = frozenset({"draft", "draft_length", "gates", "tree_width", "batch_nodes", "draw_drafts"})


def decode(session: Session, settings: Settings) -> Steps:
    stretches, budget = settings.gated_stretches, settings.batch_nodes
    while not session.finished:
        line, last, sure = EMPTY, EMPTY, 1.0
        for levels, threshold in stretches:
            answer = session.load(LoadQuestion(levels, budget))
            yield (answer,)
            deeper = min(levels, result(answer).nodes)
            if deeper:
                draft = session.draft(line, limits(deeper, settings.tree_width, settings.draw_drafts))
                yield (draft,)
                last = result(draft).tree
                line = line_of(
                    line.tokens + last.tokens[:deeper], line.confidences + last.confidences[:deeper]
                )
                for confidence in last.confidences[:deeper]:
                    sure *= confidence
            if deeper < levels or sure <= threshold:
                break
        tree = line
        further = len(last) - len(last.parents.first_line)
        if further:
            answer = session.load(LoadQuestion(further, budget, spare=True))
            yield (answer,)
            tree = widened(line, last, result(answer).nodes)
        verdict = session.verify(tree)
        yield (verdict,)
        commit(session, tree, result(verdict))


@cache
def limits(levels: int, width: int, drawn: bool) -> DraftLimits:
    """Of a draft of a stretch; one object for all that are alike, since it takes long to make."""
    return DraftLimits(levels, drawn=drawn, shape=stretch(levels, width))


@cache
def stretch(levels: int, width: int) -> Shape:
    """A line of so many levels, and beside its last token the draft's next candidates, `width` in all."""
    line = range(-1, levels - 1)
    parents: Parents = shared((*line, *[levels - 2] * (width - 1)))
    return Shape(parents, (*[0] * levels, *range(1, width)))


def widened(line: TokenTree, last: TokenTree, count: int) -> TokenTree:
    """The line, and beside its last token `count` of the further candidates of the `last` stretch."""
    if not count:
        return line
    begin = len(last.parents.first_line)
    taken = slice(begin, begin + count)
    end = len(line) - 1
    return with_siblings(line, (end,) * count, last.tokens[taken], last.confidences[taken])
