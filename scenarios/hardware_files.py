"""What a scenario's `hardware` names by file: profiles, devices and models' config.json, shipped or its own."""

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from scenarios.files import Location, YamlFile
from sim.hardware_costs import Device, ModelShape, Profile

SHIPPED = Path(__file__).parent / "hardware"
SUFFIXES = (".yaml", ".yml", ".json")

Reader = Callable[[Path], BaseModel]


def read_profile(path: Path) -> Profile:
    """A profile. ConfigurationError if it is missing or wrong."""
    file = YamlFile.read(path, "a hardware profile")
    return file.validate(Profile, file.data)


def read_device(path: Path) -> Device:
    """A device's figures. ConfigurationError if they are missing or wrong."""
    file = YamlFile.read(path, "a device")
    return file.validate(Device, file.data)


def read_model(path: Path) -> ModelShape:
    """The shape of a model from its config.json, whose other keys do not matter.

    ConfigurationError if it is missing or wrong, or if a forward does not read all of the model's weights.
    """
    file = YamlFile.read(path, "a model's config.json")
    for key in file.data:
        if "expert" in key and file.data[key]:
            raise file.error((key,), ": a mixture of experts reads some of its weights; state a dense model")
    known = {key: value for key, value in file.data.items() if key in ModelShape.model_fields}
    return file.validate(ModelShape, known)


# Where a name may stand, the folder of those shipped, and how one is read.
NAMES: tuple[tuple[tuple[str, ...], str, Reader], ...] = (
    (("profile",), "profiles", read_profile),
    (("roofline", "device"), "devices", read_device),
    (("roofline", "model"), "models", read_model),
)


def resolve_names(file: YamlFile, hardware: Any) -> Any:
    """A scenario's `hardware` with what files hold in place of their names; the rest is left to be validated."""
    if not isinstance(hardware, dict):
        return hardware
    sides = {
        side: resolve_times(file, ("hardware", side), hardware[side])
        for side in ("target", "draft")
        if side in hardware
    }
    return {**hardware, **sides}


def resolve_times(file: YamlFile, place: Location, times: Any) -> Any:
    """The same of one model's times (`sim.hardware_costs.Timed`), which stand at a place of the file."""
    for keys, folder, read in NAMES:
        times = _resolve(file, place, keys, folder, read, times)
    return times


def _resolve(
    file: YamlFile, place: Location, keys: tuple[str, ...], folder: str, read: Reader, data: Any
) -> Any:
    """`data`, in which what stands at `keys` is read where it is a name."""
    if not keys:
        return read(_find(file, place, folder, data)) if isinstance(data, str) else data
    if not isinstance(data, dict) or keys[0] not in data:
        return data
    inner = _resolve(file, (*place, keys[0]), keys[1:], folder, read, data[keys[0]])
    return {**data, keys[0]: inner}


def _find(file: YamlFile, place: Location, folder: str, name: str) -> Path:
    """A file beside the scenario or, without a suffix, one of those shipped."""
    if name.endswith(SUFFIXES):
        path = file.path.parent / name
        if not path.is_file():
            raise file.error(place, f": there is no file {path}")
        return path
    shipped = {path.stem: path for path in sorted((SHIPPED / folder).iterdir()) if path.suffix in SUFFIXES}
    if name in shipped:
        return shipped[name]
    nearest = difflib.get_close_matches(name, shipped, n=1)
    hint = f"did you mean '{nearest[0]}'?" if nearest else f"there are: {', '.join(shipped)}"
    raise file.error(place, f": no '{name}' is shipped, {hint} A file of your own ends in .yaml or .json")
