"""Where the tracebacks of unexpected exceptions are kept, so that a sentence can name the file. Torch-free."""

import os
import tempfile
import traceback
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from engine.paths import cache_folder

KEPT = 50  # files in a folder; older ones are removed
LONGEST = 1 << 16  # characters of a traceback that are kept, of its end


def words_of(error: BaseException) -> str:
    """An exception's message; none where that cannot be had, since it is some model's code that words it."""
    try:
        return str(error).strip()
    except Exception:
        return ""


def said(error: BaseException) -> str:
    """An exception's type and the first line of its message."""
    first = words_of(error).partition("\n")[0].rstrip(" .")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def explain(error: BaseException, job: str) -> str:
    """What went wrong in a job, on one line: the exception's type, its message and the file with its traceback."""
    path = keep(error, job)
    where = f"its traceback is in {path}" if path else "its traceback could not be written to any folder"
    return f"{said(error)}; {where}"


def keep(error: BaseException, job: str) -> Path | None:
    """Write an exception's traceback, the job's name, the process and the time to a file of its own.

    It lies in the cache folder or, where that cannot be written, in a temporary one, and only its owner can read it. It
    holds lines of code and the exception's message, and no value of a variable. None if there is no room anywhere.
    """
    trace = "".join(traceback.format_exception(error))[-LONGEST:]
    text = f"{datetime.now().astimezone().isoformat()} process {os.getpid()}, job {job}\n\n{trace}"
    for folder in (cache_folder() / "faults", Path(tempfile.gettempdir()) / f"specbranch-faults-{_user()}"):
        with suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if hasattr(os, "getuid") and folder.stat().st_uid not in (os.getuid(), 0):
                continue  # a temporary folder is everyone's to make
            # The time first, so that names are in the order of age; the rest is nobody else's.
            stamp = datetime.now().strftime("%Y%m%d-%H%M%S-%f-")
            descriptor, path = tempfile.mkstemp(suffix=".log", prefix=stamp, dir=folder)
            with open(descriptor, "w", encoding="utf-8", errors="replace") as file:
                file.write(text)
            _prune(folder)
            return Path(path)
    return None


def _user() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0


def _prune(folder: Path) -> None:
    """Remove the oldest files; another process may be doing so at the same time."""
    for old in sorted(folder.glob("*.log"))[:-KEPT]:
        old.unlink(missing_ok=True)
