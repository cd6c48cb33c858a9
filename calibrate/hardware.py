"""The fingerprint of a machine and of models: what a measurement holds for. Torch-free."""

import hashlib
import platform
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from engine.errors import SpecBranchError
from engine.models.specs import ModelSpec, weight_files
from engine.runtime.cores import allowed_cores, find_cores
from engine.runtime.placement import cuda_devices

PACKAGES = ("torch", "transformers", "numpy", "numba", "simpy", "safetensors")


def hardware() -> dict[str, str]:
    """What this machine is, as far as it can be read.

    `cores` are those that are computed on; where that are not all that the process may run on, `core limits` say why.
    """
    cores = find_cores(allowed_cores())
    facts = {
        "machine": platform.machine(),
        "processor": _field("/proc/cpuinfo", "model name") or platform.processor() or "unknown",
        "features": " ".join(
            f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_int8") if f in _flags()
        ),
        "cores": str(len(cores.usable)),
        "memory": _field("/proc/meminfo", "MemTotal") or "unknown",
        "governor": _text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or "not readable",
        "virtual": "yes" if "hypervisor" in _flags() else "no",
    }
    if cores.usable != cores.allowed:
        facts["core limits"] = str(cores)
    driver = _text("/proc/driver/nvidia/version")
    if driver:
        facts["cuda driver"] = driver.splitlines()[0]
        facts["cuda devices"] = str(cuda_devices())
    return facts


def software() -> dict[str, str]:
    """The system and the versions of what computes."""
    facts = {"system": platform.platform(), "python": platform.python_version()}
    return facts | {name: _version(name) for name in PACKAGES}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # numba, without which PyTorch computes everything
        return "not installed"


def same_hardware(a: dict[str, str], b: dict[str, str]) -> bool:
    """Whether two fingerprints are of machines that compute alike: processor, features, cores, devices."""
    keys = ("machine", "processor", "features", "cores", "cuda devices")
    return all(a.get(key) == b.get(key) for key in keys)


def model_digest(spec: ModelSpec) -> str:
    """sha256 over the files that a model is made of: its weights', in the order of their names, and those beside.

    SpecBranchError if they are not here.
    """
    files = weight_files(spec)
    if not files:
        raise SpecBranchError(f"'{spec.source}' holds no weights that could be hashed.")
    beside = list(filter(None, [spec.distilled_file, spec.codes_file, spec.ngrams_file]))
    missing = [file for file in beside if not file.is_file()]
    if missing:
        raise SpecBranchError(f"'{spec.source}' is made with {missing[0]}, which is not there.")
    # A pair's drafts are mostly made of its target's weights, which may be many gigabytes: they are read once.
    digest = _hashed(tuple(map(_identity, files))).copy()
    for file in beside:
        _add(digest, file)
    return digest.hexdigest()


class _Identity(NamedTuple):
    """A file as it is: another size or time is another file."""

    path: Path
    size: int
    changed: int  # nanoseconds


def _identity(file: Path) -> _Identity:
    facts = file.stat()
    return _Identity(file, facts.st_size, facts.st_mtime_ns)


@lru_cache(maxsize=8)
def _hashed(files: tuple[_Identity, ...]) -> "hashlib._Hash":
    digest = hashlib.sha256()
    for file in files:
        _add(digest, file.path)
    return digest


def _add(digest: "hashlib._Hash", file: Path) -> None:
    with file.open("rb") as stream:
        while block := stream.read(1 << 22):
            digest.update(block)


def _text(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return None


def _field(path: str, name: str) -> str | None:
    for line in (_text(path) or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None


def _flags() -> set[str]:
    return set((_field("/proc/cpuinfo", "flags") or _field("/proc/cpuinfo", "Features") or "").split())
