"""What Numba imports before it calls its first compiled function, some half a second of a processor's time.

Imported where workers are forked from (`engine.runtime.workers`), it is done once for all of them. ImportError without
Numba.
"""

from numba.core.registry import cpu_target

cpu_target.typing_context.refresh()
cpu_target.target_context.refresh()
