"""Messages between the driver and its workers: JSON, and beside it the bytes that some values are. Torch-free."""

import json
import struct
from collections.abc import Mapping
from typing import Any

FRONT = struct.Struct("!II")  # how long the JSON is, and how many values stand beside it
MARK = "bytes at"  # the one key of what stands in the JSON for bytes: where they begin and end behind it


def encode(message: Any) -> bytes:
    """A message of what JSON takes, and of bytes. TypeError for anything else."""
    try:
        # Most hold no bytes, and json has an encoder ready for those: a round waits for this.
        head = json.dumps(message).encode()
        return FRONT.pack(len(head), 0) + head
    except TypeError:
        return _encode_with_bytes(message)


def _encode_with_bytes(message: Any) -> bytes:
    parts: list[bytes] = []
    end = 0

    def aside(value: object) -> dict[str, list[int]]:
        nonlocal end
        if not isinstance(value, bytes):
            raise TypeError(f"a message cannot hold a {type(value).__name__}")
        parts.append(value)
        begin, end = end, end + len(value)
        return {MARK: [begin, end]}

    head = json.dumps(message, default=aside).encode()
    return b"".join((FRONT.pack(len(head), len(parts)), head, *parts))


def decode(data: bytes) -> Any:
    """What `encode` made a message of."""
    length, beside = FRONT.unpack_from(data)
    if not beside:
        return json.loads(data[FRONT.size :].decode())
    head, view = data[FRONT.size : FRONT.size + length], memoryview(data)[FRONT.size + length :]

    def whole(value: Mapping[str, Any]) -> Any:
        if len(value) == 1 and MARK in value:
            begin, end = value[MARK]
            return bytes(view[begin:end])
        return value

    return json.loads(head, object_hook=whole)
