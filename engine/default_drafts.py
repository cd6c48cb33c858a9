"""The pair that a command works on: the embedded default, or models given by path or hub id. Torch-free."""

from collections.abc import Mapping
from pathlib import Path

from engine.models import DEFAULT, TARGET, WEIGHTS, ModelSpec, Precision

DISTILLED = WEIGHTS / "smollm2-135m-distilled.safetensors"


def choose_models(
    target: str | None, draft: str | None, precision: Precision, trust_remote_code: bool = False
) -> tuple[ModelSpec, Mapping[str, ModelSpec]]:
    """The target and its drafts by name, the best aligned first.

    Without `target`, the default pair. A `draft` given by path or id is the only one, called by its last part.
    Rounded and distilled drafts compute in bfloat16 whatever the target's `precision`: only the target's
    arithmetic decides the text.
    """
    source = target or DEFAULT
    spec = ModelSpec(source=source, precision=precision, trust_remote_code=trust_remote_code)
    if draft:
        name = Path(draft).name
        return spec, {name if name != TARGET else "draft": spec.model_copy(update={"source": draft})}
    if target:
        return spec, {
            f"int{bits}": ModelSpec(source=source, bits=bits, trust_remote_code=trust_remote_code)
            for bits in (8, 4)
        }
    kept = DISTILLED.name if DISTILLED.exists() else None
    drafts: dict[str, ModelSpec] = {
        "int8": ModelSpec(source=source, bits=8, kept_tokens=kept),
        "int4": ModelSpec(source=source, bits=4, codes=DEFAULT, kept_tokens=kept),
    }
    if kept:
        drafts["distilled"] = ModelSpec(source=source, bits=8, distilled=DISTILLED.name)
    return spec, drafts
