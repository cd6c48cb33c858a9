"""How far hardware profiles and rooflines are from published times: `python -m scenarios.hardware_levels`."""

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from scenarios.files import Location, YamlFile
from scenarios.hardware_files import SHIPPED, resolve_times
from scenarios.stated_hardware import Timed

LEVELS = SHIPPED / "levels.yaml"


class Level(BaseModel):
    """A published time of a forward over a token behind `context` (of all texts), and ways to extrapolate it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    ms: float = Field(gt=0)
    source: str
    context: int = Field(default=0, ge=0)
    ways: dict[str, Timed] = Field(min_length=1)


def read_levels(path: Path = LEVELS) -> tuple[Level, ...]:
    """The published times of a file. ConfigurationError if it is missing or wrong."""
    file = YamlFile.read(path, "published times")
    return tuple(_read_level(file, index) for index in range(len(file.data["levels"])))


def _read_level(file: YamlFile, index: int) -> Level:
    place: Location = ("levels", index)
    entry = file.data["levels"][index]
    ways = {name: resolve_times(file, (*place, "ways", name), times) for name, times in entry["ways"].items()}
    return file.validate(Level, {**entry, "ways": ways}, lambda inner: (*place, *inner))


def lines(levels: tuple[Level, ...]) -> Iterator[str]:
    """A table in Markdown: published and extrapolated milliseconds, and the error."""
    yield "| forward over one token of each text | published ms | way | extrapolated ms | error |"
    yield "| --- | ---: | --- | ---: | ---: |"
    for level in levels:
        for name, times in level.ways.items():
            ms = 1e3 * times.seconds(1, level.context)
            yield f"| {level.title} | {level.ms:.2f} | {name} | {ms:.2f} | {ms / level.ms - 1:+.0%} |"


if __name__ == "__main__":
    print("\n".join(lines(read_levels())))
