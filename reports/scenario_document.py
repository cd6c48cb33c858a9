"""What a scenario came to, as one JSON document."""

import json
from collections.abc import Sequence
from typing import TypeVar

from pydantic import TypeAdapter

from scenarios.schema import Scenario

T = TypeVar("T")


def scenario_document(found: Sequence[tuple[Scenario, Sequence[T]]], outcomes: TypeAdapter[list[T]]) -> str:
    """A scenario with its outcomes, or several of them where it names several kinds of hardware."""
    written = [
        {"scenario": loaded.model_dump(mode="json"), "outcomes": outcomes.dump_python(list(its), mode="json")}
        for loaded, its in found
    ]
    return json.dumps(written[0] if len(written) == 1 else {"scenarios": written})
