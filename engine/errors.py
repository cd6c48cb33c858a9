"""The errors a user can act on; each message is one sentence that says what to do."""


class SpecBranchError(Exception):
    """Base of every error that the command line prints without a traceback."""


class ConfigurationError(SpecBranchError):
    """A scenario, configuration or policy setting is wrong."""


class WorkerLost(SpecBranchError):
    """A worker process died or no longer answers."""


class OutOfMemory(WorkerLost):
    """A worker had no memory for a job, and is of no more use to the model that asked for it."""


class WorkerFailed(SpecBranchError):
    """A job raised what nobody expected, after which the state of its model is anybody's guess."""


class CalibrationError(SpecBranchError):
    """A calibration is missing, damaged, or lacks what is asked of it."""


_KINDS = {
    kind.__name__: kind
    for kind in (SpecBranchError, ConfigurationError, WorkerLost, OutOfMemory, WorkerFailed, CalibrationError)
}


def spelled(error: SpecBranchError) -> tuple[str, str]:
    """An error as it goes through a pipe: the name of its kind, and its sentence."""
    kind = next(kind.__name__ for kind in type(error).__mro__ if kind.__name__ in _KINDS)
    return kind, str(error)


def from_spelling(kind: str, sentence: str) -> SpecBranchError:
    """The error that `spelled` was given."""
    return _KINDS[kind](sentence)
