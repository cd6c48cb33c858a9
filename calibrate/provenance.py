"""What costs or traces are of: pair, weights, machine, software, engine's revision; what of that is otherwise here.

Torch-free.
"""

from collections.abc import Iterator, Mapping
from itertools import chain

from calibrate.hardware import hardware, model_digest, same_hardware, software
from calibrate.records import Measurement
from calibrate.revision import engine_revision
from engine.errors import SpecBranchError
from engine.models.specs import TARGET, ModelSpec

COMPUTING = ("torch", "transformers", "numba")  # packages whose release may change a cost or a token


def other_software(measured: Measurement) -> Iterator[str]:
    """Packages that compute here and are of another release than those that were measured; not those unknown of."""
    then, now = measured.software, software()
    for package in COMPUTING:
        if package in then and then[package] != now[package]:
            yield f"{package} {then[package]} (here {now[package]})"


def other_engine(measured: Measurement) -> Iterator[str]:
    """The engine's revision that was measured, if it is not the one here."""
    then, now = measured.engine_revision, engine_revision()
    if then is None:
        yield f"an engine of unknown revision (here {now})"
    elif then != now:
        yield f"engine revision {then} (here {now})"


def outdated(measured: Measurement) -> tuple[str, ...]:
    """A sentence for who replays it if it was measured on such a machine, but of another engine or software.

    Of a calibration from elsewhere nothing is said: its costs are not this machine's anyway.
    """
    if not same_hardware(measured.hardware, hardware()):
        return ()
    others = [*other_engine(measured), *other_software(measured)]
    if not others:
        return ()
    return (
        f"measured with {' and '.join(others)}, so costs may have changed since; 'specbranch calibrate --again' "
        "measures them anew",
    )


def others(measured: Measurement, target: ModelSpec, drafts: Mapping[str, ModelSpec]) -> Iterator[str]:
    """What costs or traces are of that this pair is not, here and now: in words that follow "a calibration of"."""
    known = {name: record.spec for name, record in measured.models.items()}
    here = {TARGET: target, **drafts}
    depth = measured.target.spec.deepen
    as_deep = measured.target.spec.model_copy(update={"deepen": target.deepen})
    if known == here:
        yield from _other_weights(measured)
    elif {**known, TARGET: as_deep} == here:
        yield f"a target deepened {depth} times" if depth > 1 else "a target that is not deepened"
    else:
        yield "another pair"
    if not same_hardware(measured.hardware, hardware()):
        yield f"another machine ({measured.hardware.get('processor', 'unknown')})"
    yield from chain(other_software(measured), other_engine(measured))


def _other_weights(measured: Measurement) -> Iterator[str]:
    for name, record in measured.models.items():
        try:
            same = model_digest(record.spec) == record.sha256
        except SpecBranchError as error:
            yield f"weights of '{name}' that are not here ({str(error).removesuffix('.')})"
        else:
            if not same:
                yield f"other weights of '{name}'"
