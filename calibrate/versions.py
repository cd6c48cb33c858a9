"""Records of older versions, brought up to the present one. Torch-free.

A migration is a small pure function from the JSON of one version to that of the next. What a version lacks is never
made up: a version that says too little for it has no migration, and its history says why.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
Migration = Callable[[Json], Json]


class OtherVersion(ValueError):
    """A record's version cannot be read; the message is the reason, without an end."""


@dataclass(frozen=True)
class History:
    """The versions of one kind of record.

    `present`: the version that is written. `migrations`: by version, how its JSON becomes the next one's. `too_old`:
    why what is older than all of these cannot be read.
    """

    present: int
    migrations: Mapping[int, Migration]
    too_old: str

    def migrate(self, record: object) -> Json:
        """A record's JSON as of the present version; `record` itself is left as it is.

        OtherVersion if it is too old or too new; ValueError if it is no mapping with a version.
        """
        if not isinstance(record, dict):
            raise ValueError("a record is a mapping")
        version = record.get("version")
        if type(version) is not int:
            raise ValueError("a record has a version")
        if version > self.present:
            raise OtherVersion(
                f"was made by a newer program (version {version}, and this one reads up to {self.present}): update "
                "this program"
            )
        data: Json = dict(record)
        while version < self.present:
            if version not in self.migrations:
                raise OtherVersion(
                    f"is of version {data['version']}, which cannot be read any more: {self.too_old}"
                )
            data, version = self.migrations[version](data), version + 1
        return {**data, "version": self.present}


def unchanged(record: Json) -> Json:
    """For a version whose successor only added what has a default that is true of it."""
    return record
