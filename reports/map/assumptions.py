"""What a map rests on, and what it was made of."""

from engine.naming import SEATS
from reports.map.page_tables import (
    texts_name,
)
from reports.page.sections import Section, pairs
from reports.wording import (
    listing,
    number,
    percent,
    plural,
)
from sim.search.regimes import RegimeMap


def _by_draft(found: RegimeMap) -> str:
    """Which ratios have which draft's costs."""
    own = dict(found.costs.values())
    ratios = {name: [ratio for ratio, (of, _) in found.costs.items() if of == name] for name in own}
    return "; ".join(f"{name} ({number(own[name])}) at {listing(some)}" for name, some in ratios.items())


def assumptions(found: RegimeMap) -> Section:
    """What the map rests on, and what it was made of."""
    sources = [
        f"{texts_name(float(t)).lower()}: "
        + ", ".join(
            f"{percent(float(a), 0)} from {draft} ({percent(own, 0)})" for a, (draft, own) in some.items()
        )
        for t, some in found.sources.items()
    ]
    assumed = (
        ("other ratios", "above that draft's own every forward of the target takes so many times longer, below it "
         "every forward of the draft; hand-overs take what they were measured to take"),
        ("contention", "the measured factors by which target and draft slow each other, at every ratio"),
        ("other placements", "a model dearer by a factor is dearer by the same factor in every placement"),
        ("costs", "of the draft whose own ratio is the nearest: " + _by_draft(found)),
        ("other alignments", "recorded traces, shifted: hits become misses, or misses hits, first where the draft was "
         "unsure, so that runs of hits keep their shape; confidences stay as they were recorded"),
        ("shifted from", "; ".join(sources)),
        ("drawn texts", "drafts draw their tokens too, where the calibration recorded that"),
        ("H-RAD", "left out: its predictions were recorded for the alignment that was"),
        ("settings", f"{found.settings} in each cell over all methods and placements, a coarse grid; each method's "
         "best is chosen on the texts that it is shown on"),
        ("intervals", f"95%, paired over {plural(found.prompts, 'prompt')}, by the delta method; of the texts that "
         "are simulated alone, not of the model's error"),
        ("lengths of text", f"{number(found.tokens / found.prompts, 0)} tokens in the mean behind prompts, whose "
         "reading counts"),
    )  # fmt: skip
    made = (
        ("calibration", f"{found.calibration} ({found.calibration_digest[:12]}), {found.calibrated}"),
        (
            "machine",
            ", ".join(
                f"{k}: {v}" for k, v in found.hardware.items() if k in ("processor", "cores", "memory")
            ),
        ),
        ("target", found.target),
        ("ratio measured in", SEATS[found.measured_in]),
        (
            "worked out in",
            f"{number(found.seconds)} s by {plural(found.processes, 'process')}, of which a processor worked "
            f"{number(found.processor_seconds)} s in all; seed {found.seed}",
        ),
    )
    return Section(
        "conditions",
        "What is assumed",
        "What is assumed, and what it was made of",
        "Only the calibrated pair's own place was measured; every cell is a supposition about another pair on this "
        "machine, "
        "which holds as far as the following does.",
        (),
        (pairs("What is assumed", assumed), pairs("What it was made of", made)),
    )
