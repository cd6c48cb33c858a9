"""A seal on the bytes of a JSON file, which are damaged if it does not fit them. Torch-free.

The seal is the sha256 of the file's bytes, but with an empty seal, and stands at their end. So it says whether these
bytes are those that were written, whatever library wrote them, and however it writes numbers today.
"""

import hashlib
import re

_EMPTY = b'"seal":""}'
_SEALED = re.compile(rb'"seal":"([0-9a-f]{64})"\}\Z')


def seal(text: bytes) -> tuple[bytes, str]:
    """JSON with its seal, and the seal. ValueError unless it ends with an empty one, `"seal":""}`."""
    if not text.endswith(_EMPTY):
        raise ValueError(f"the JSON does not end with {_EMPTY.decode()}")
    found = hashlib.sha256(text).hexdigest()
    return text.removesuffix(_EMPTY) + f'"seal":"{found}"}}'.encode(), found


def seal_of(text: bytes) -> str | None:
    """The seal of a file's bytes; None if it has none that fits them."""
    match = _SEALED.search(text)
    if match is None:
        return None
    found = match[1].decode()
    return found if seal(text[: match.start()] + _EMPTY)[1] == found else None
