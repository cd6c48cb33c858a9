"""How long threads waited for a core that something else had, by the system's own count. Torch-free.

No clock within a program tells. Where two threads make a forward together each waits for the other, so that whoever
takes one of their cores for a tenth of the time costs both a tenth (docs/lab-notes.md, "Calibration").
"""

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")

Waits = dict[int, float]  # seconds, by the system's ids of threads
# A share of a time, beyond which others had the cores. Where nothing else ran it was 0.03 and less: a program's own
# threads wait a little for each other, too.
DISTURBING = 0.05


def waits(processes: Iterable[int] | None = None, proc: Path = PROC) -> Waits:
    """Seconds that threads have waited for a core, each since it began: of these processes, or of this one.

    Empty where the system does not say (other systems than Linux, some sandboxes).
    """
    found: Waits = {}
    for process in [os.getpid()] if processes is None else processes:
        with suppress(OSError):  # it has just ended, or there are no such folders
            for thread in (proc / str(process) / "task").iterdir():
                with suppress(OSError, ValueError, IndexError):
                    found[int(thread.name)] = int((thread / "schedstat").read_text().split()[1]) * 1e-9
    return found


def waited_since(before: Mapping[int, float], now: Mapping[int, float]) -> float:
    """Seconds that threads waited between two counts; those that began meanwhile, since then."""
    return sum(max(0.0, seconds - before.get(thread, 0.0)) for thread, seconds in now.items())
