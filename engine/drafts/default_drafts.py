"""The pair that a command works on: the embedded default, or models given by path or hub id. Torch-free."""

from collections.abc import Mapping
from pathlib import Path

from engine.models.specs import DEFAULT, TARGET, WEIGHTS, ModelSpec, Precision
from engine.paths import check_model
from engine.policies.ngrams import load_ngrams

DISTILLED = WEIGHTS / "smollm2-135m-distilled.safetensors"
NGRAMS = WEIGHTS / "smollm2-135m-ngrams.safetensors"


def choose_models(
    target: str | None,
    draft: str | None,
    precision: Precision,
    trust_remote_code: bool = False,
    ngrams: Path | None = None,
    deepen: int = 1,
) -> tuple[ModelSpec, Mapping[str, ModelSpec]]:
    """The target and its drafts by name, the best aligned first.

    Without `target`, the default pair. A `draft` given by path or id is the only one, called by its last part.
    Rounded and distilled drafts compute in bfloat16 whatever the target's `precision`: only the target's
    arithmetic decides the text. The target is made `deepen` times as deep (`engine.models.deepening`), drafts never.
    What guesses does so by `ngrams` (`engine.policies.ngrams`), the default pair by its own.
    SpecBranchError if a path is given where there is no model, or no file of n-grams.
    """
    for given in filter(None, (target, draft)):
        check_model(given)
    if ngrams:
        load_ngrams(ngrams)
    source = target or DEFAULT
    kept = DISTILLED.name if DISTILLED.exists() else None
    own = NGRAMS.name if NGRAMS.exists() and not target else None
    theirs = str(ngrams) if ngrams else own
    spec = ModelSpec(
        source=source,
        precision=precision,
        trust_remote_code=trust_remote_code,
        ngrams=theirs,
        deepen=deepen,
    )
    if draft:
        name = Path(draft).name
        return spec, {
            name if name != TARGET else "draft": spec.model_copy(update={"source": draft, "deepen": 1})
        }
    if target:
        return spec, {
            f"int{bits}": ModelSpec(
                source=source, bits=bits, trust_remote_code=trust_remote_code, ngrams=theirs
            )
            for bits in (8, 4)
        }
    drafts: dict[str, ModelSpec] = {
        "int8": ModelSpec(source=source, bits=8, kept_tokens=kept, ngrams=theirs),
        "int4": ModelSpec(source=source, bits=4, codes=DEFAULT, kept_tokens=kept, ngrams=theirs),
    }
    if kept:
        drafts["distilled"] = ModelSpec(source=source, bits=8, distilled=DISTILLED.name, ngrams=theirs)
    return spec, drafts
