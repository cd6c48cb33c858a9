"""The errors a user can act on; each message is one sentence that says what to do."""


class SpecBranchError(Exception):
    """Base of every error that the command line prints without a traceback."""


class ConfigurationError(SpecBranchError):
    """A scenario, configuration or policy setting is wrong."""


class WorkerLost(SpecBranchError):
    """A worker process died or no longer answers."""


class OutOfMemory(WorkerLost):
    """A worker had no memory for a job, and is of no more use to the model that asked for it."""


class CalibrationError(SpecBranchError):
    """A calibration is missing, damaged, or lacks what is asked of it."""
