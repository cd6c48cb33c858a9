"""The errors a user can act on; each message is one sentence that says what to do."""


class SpecBranchError(Exception):
    """Base of every error that the command line prints without a traceback."""


class ConfigurationError(SpecBranchError):
    """A scenario, configuration or policy setting is wrong."""


class WorkerLost(SpecBranchError):
    """A worker process died or no longer answers."""


class CalibrationError(SpecBranchError):
    """A calibration is missing, damaged, or lacks what is asked of it."""
