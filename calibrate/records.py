"""What every record of a measurement says: of which models, on what machine, by which code and software. Torch-free.

Costs (`calibrate.cost_records`) belong to hardware, models and a placement; acceptance traces
(`calibrate.trace_records`) to a pair and texts. So each says for itself what measured it.
"""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from calibrate.seal import seal
from engine.models.specs import TARGET, ModelSpec


class Record(BaseModel):
    """JSON that is read again: it has no infinity, and a key that is unknown is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ModelRecord(Record):
    """A model as it was loaded; `sha256` of its weights' files.

    `positions`: how many tokens a text may have at most, the prompt's included; None: unknown, or no limit.
    `vocabulary`: how many tokens it knows; None: it was not noted.
    """

    spec: ModelSpec
    sha256: str
    positions: int | None = Field(default=None, ge=1)
    vocabulary: int | None = Field(default=None, ge=1)


class Measurement(Record):
    """What a measurement is of.

    `hardware` and `software` are the fingerprint; `engine_revision` of what was timed or recorded
    (`calibrate.revision`), None: it was not noted. `remarks`: what has to be said wherever a figure of it is shown
    (`engine.models.deepening`). `seal`: of the file that this record was read from or written to, where it stands last.
    """

    created: str
    hardware: dict[str, str]
    software: dict[str, str]
    engine_revision: str | None = None
    effort: str
    seed: int
    target: ModelRecord
    drafts: dict[str, ModelRecord]
    remarks: tuple[str, ...] = ()
    seal: str = ""

    @property
    def models(self) -> dict[str, ModelRecord]:
        """The target and the drafts, by name."""
        return {TARGET: self.target, **self.drafts}

    @property
    def positions(self) -> int | None:
        """How many tokens a text of all models may have at most, the prompt's included; None: no limit is known."""
        return min((m.positions for m in self.models.values() if m.positions is not None), default=None)

    def encoded(self) -> tuple[bytes, str]:
        """The JSON of this record with its seal, and the seal."""
        return seal(self.model_dump_json(exclude={"seal"}).encode().removesuffix(b"}") + b',"seal":""}')

    def sealed(self) -> Self:
        """The same with its seal."""
        return self.model_copy(update={"seal": self.encoded()[1]})
