"""What most records that are written to files, or read from them, begin with. Torch-free."""

from pydantic import BaseModel, ConfigDict


class FrozenRecord(BaseModel):
    """A record that stays as it was made, and in which a key that is unknown is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True)
