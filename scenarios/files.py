"""YAML files checked against a schema; errors name file, line, key and the nearest right key."""

import difflib
import itertools
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticCustomError

from engine.errors import ConfigurationError

M = TypeVar("M", bound=BaseModel)
Location = tuple[int | str, ...]


@dataclass(frozen=True)
class YamlFile:
    """A file's mapping, and the nodes that know its lines."""

    path: Path
    node: Any
    data: dict[str, Any]

    @classmethod
    def read(cls, path: Path, what: str) -> "YamlFile":
        """Read a file that holds `what`. ConfigurationError if it is not there or not a mapping in YAML."""
        try:
            text = path.read_text(encoding="utf-8")
            node = yaml.compose(text, Loader=yaml.SafeLoader)
            data = yaml.safe_load(text)
        except OSError as error:
            raise ConfigurationError(f"{path}: {what} cannot be read ({error.strerror})") from error
        except UnicodeDecodeError as error:
            raise ConfigurationError(f"{path}: cannot be read as text ({error})") from error
        except yaml.YAMLError as error:
            raise ConfigurationError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from error
        if not isinstance(data, dict):
            raise ConfigurationError(f"{path}: {what} is a mapping of keys")
        return cls(path, node, data)

    def validate(
        self,
        schema: type[M],
        data: dict[str, Any],
        origin: Callable[[Location], Location] = lambda place: place,
    ) -> M:
        """`data` as a `schema`; `origin` says where in the file a place in `data` comes from.

        ConfigurationError for the first mistake.
        """
        try:
            return schema.model_validate(data)
        except ValidationError as error:
            # An unknown key says more than the missing one it was meant to be.
            first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
            place = _written(data, first["loc"], first["type"] == "missing")
            place = place or tuple(first.get("ctx", {}).get("place", ()))
            if first["type"] == "extra_forbidden":
                nearest = difflib.get_close_matches(str(place[-1]), _keys(schema, place[:-1]), n=1)
                reason = "is unknown" + (f", did you mean '{nearest[0]}'?" if nearest else "")
                raise self.error(origin(place), reason) from error
            if first["type"] == "missing":
                raise self.error(origin(place), "is missing") from error
            message = first["msg"]
            raise self.error(origin(place), f": {message[0].lower()}{message[1:]}") from error

    def error(self, place: Location, reason: str) -> ConfigurationError:
        """An error at a place of the file."""
        where = f"{self.path}:{self._line(place)}: key '{'.'.join(map(str, place))}'"
        return ConfigurationError(where + (reason if reason.startswith(":") else f" {reason}"))

    def _line(self, place: Location) -> int:
        """The line of the deepest part of `place` that the file has."""
        node, line = self.node, int(self.node.start_mark.line) + 1
        for part in place:
            if isinstance(node, yaml.MappingNode):
                pair = next(((k, v) for k, v in node.value if k.value == part), None)
                if pair is None:
                    return line
                line, node = pair[0].start_mark.line + 1, pair[1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
                line = node.start_mark.line + 1
        return line


def misplaced(place: Location, message: str) -> PydanticCustomError:
    """What a schema raises when keys do not go together: a message, and the key to point at."""
    return PydanticCustomError("misplaced", "{message}", {"message": message, "place": place})


def product(entry: Any, whole: Collection[str] = ()) -> list[Any]:
    """Every choice of one value from each list of a mapping, and of mappings inside it.

    A mapping under a key of `whole` has lists of its own, which are no choices.
    """
    if not isinstance(entry, dict):
        return [entry]
    values = [
        value if isinstance(value, list) else [value] if key in whole else product(value, whole)
        for key, value in entry.items()
    ]
    return [dict(zip(entry, combination, strict=True)) for combination in itertools.product(*values)]


def _written(data: Any, place: Location, missing: bool) -> Location:
    """A place without the names that a schema gives to alternatives, such as a count and the law of one.

    They stand in no file; neither does the last part of a place where something is `missing`.
    """
    kept: list[int | str] = []
    for number, part in enumerate(place, 1):
        inside = part in data if isinstance(data, dict) else isinstance(part, int)
        if isinstance(data, dict):
            data = data[part] if inside else data
        elif isinstance(part, int):
            data = data[part] if isinstance(data, list | tuple) else None
        if inside or (missing and number == len(place)):
            kept.append(part)
    return tuple(kept)


def _keys(schema: type[BaseModel], place: Location) -> list[str]:
    """The keys that a place of a schema has."""
    for part in place:
        if isinstance(part, str) and part in schema.model_fields:
            schema = _inner_model(schema.model_fields[part].annotation) or schema
    return list(schema.model_fields)


def _inner_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for part in get_args(annotation) if (model := _inner_model(part))), None)
