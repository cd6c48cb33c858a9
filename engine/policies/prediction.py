"""What a predicted length of the accepted run means for a line of a given length. Torch-free."""

from collections.abc import Sequence

from engine.policies.tree import Prediction


def classify(run_chances: Sequence[float], draft_length: int) -> Prediction:
    """The likeliest class for a line of `draft_length` tokens (at least 1).

    `run_chances` [R + 1]: the chances that exactly 0, 1, ... R - 1 of the draft's next tokens are accepted in a
    row, and R or more. A line longer than R counts as accepted where R tokens are. Equal classes: the smaller.
    """
    longest = len(run_chances) - 1
    nothing, everything = run_chances[0], sum(run_chances[min(draft_length, longest) :])
    between = 1.0 - nothing - everything
    best = max(nothing, between, everything)
    return 0 if nothing == best else 1 if between == best else 2
