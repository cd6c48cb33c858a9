"""What a scenario's `hardware` names by file: profiles, devices and models' config.json, shipped or its own."""

import difflib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from scenarios.files import Location, YamlFile, product
from scenarios.stated_hardware import Device, ModelShape, Profile

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


WHOLE = ("profile",)  # has lists of its own


def alternatives(hardware: Any) -> list[Any]:
    """What a scenario's `hardware` stands for, a list of them or one with lists of values; each gets a name."""
    found = hardware if isinstance(hardware, list) else product(hardware, WHOLE)
    if len(found) < 2:
        return found
    said = [dict(_leaves(one)) for one in found]
    differing = [
        key for key in dict.fromkeys(itertools.chain(*said)) if len({one.get(key) for one in said}) > 1
    ]
    named = []
    for place, (one, its) in enumerate(zip(found, said, strict=True), 1):
        name = ", ".join(f"{key} {its[key]}" for key in differing if key in its) or f"hardware {place}"
        named.append({"name": name, **one} if isinstance(one, dict) else one)
    return named


def _leaves(data: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Each value of a mapping, and the words that lead to it."""
    if not isinstance(data, dict):
        yield key, str(data)
    elif key.endswith(WHOLE) or "title" in data:
        yield key, str(data.get("title"))
    else:
        for word, value in data.items():
            yield from _leaves(value, key if word == "roofline" else f"{key} {word}".strip())


def resolve_names(file: YamlFile, hardware: Any, place: Location = ("hardware",)) -> Any:
    """A scenario's `hardware` with what files hold in place of their names; the rest is left to be validated."""
    if not isinstance(hardware, dict):
        return hardware
    sides = {
        side: resolve_times(file, (*place, side), hardware[side])
        for side in ("target", "draft")
        if side in hardware
    }
    return {**hardware, **sides}


def resolve_times(file: YamlFile, place: Location, times: Any) -> Any:
    """The same of one model's times (`scenarios.stated_hardware.Timed`), which stand at a place of the file."""
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
