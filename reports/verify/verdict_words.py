"""The verdict on a verification in words: the questions, the answer with its reasons, and how the looks went."""

from reports.verify.check import Check
from reports.verify.fidelity import Fidelity, Question
from reports.verify.verification import Verification
from reports.wording import listing, number, percent, plural

QUESTIONS: dict[Question, str] = {
    "forecast": "Was the forecast right, as calibrated",
    "model": "Is the model right, given the machine's speed meanwhile",
}


def sentence(found: Fidelity, question: Question = "model") -> str:
    """The verdict on a question with its reasons, in one sentence."""
    answer = found if question == "model" else found.forecast
    if answer.verdict == "PASS":
        figures = {c.name: c for c in answer.checks}
        held = "the predictions held" if question == "model" else "the forecast held"
        return (
            f"PASS: {held} on {plural(found.prompts, 'prompt')}, "
            f"{figures['median error'].sentence}; {figures['rank correlation'].sentence}."
        )
    return f"{answer.verdict}: {'; '.join(answer.reasons)}."


def brief(found: Fidelity, question: Question = "model") -> str:
    """The verdict on a question with the figures that it hangs on; `sentence` has their limits and what they need."""
    answer = found if question == "model" else found.forecast
    open_or_broken = {"TOO NOISY TO TELL": "undecided", "FAIL": "broken"}.get(answer.verdict)
    decisive = [c for c in answer.checks if c.outcome == open_or_broken]
    if not decisive or {"mismatches", "steadiness"} & {c.name for c in decisive}:
        return sentence(found, question)

    def said(check: Check) -> str:
        figure, bound = (
            number(x, 2) if check.name == "rank correlation" else percent(x)
            for x in (check.figure.value, check.bound)
        )
        return f"{check.name} {figure} (bound {bound})"

    prompts = plural(found.prompts, "prompt")
    what = f"{prompts} leave open" if answer.verdict != "FAIL" else f"beyond the bound on {prompts}"
    return f"{answer.verdict}: {what}: {listing([said(c) for c in decisive])}."


def course(v: Verification) -> str:
    """How the looks went, in a sentence; nothing where there was no plan."""
    if v.looks is None or not v.looks.taken:
        return ""
    ended = {
        "decided": "every criterion was decided",
        "minutes": f"the {number(v.looks.minutes or 0.0, 0)} minutes were over",
        "prompts": "all prompts were run",
        None: "it was broken off",
    }[v.looks.ended]
    planned = ", ".join(str(count) for count in v.looks.planned)
    return (
        f"Planned were looks at {planned} prompts, with a chance of {percent(v.looks.error)} of a wrong PASS and as "
        f"much of a wrong FAIL over all of them; after {plural(len(v.prompts), 'prompt')} {ended}."
    )
