"""The exceptions of training, for runs that end without a result. Light to import (no torch)."""


class StoppedOnRequest(Exception):
    """A signal requested a stop. The progress is saved: start the run again to resume."""


class FailedError(Exception):
    """The run cannot continue. The message is one sentence for the user; the exit code is 1."""


class SavingError(FailedError):
    """A checkpoint or result cannot be written to disk."""


class OutOfMemoryError(FailedError):
    """The run needs more memory than is available. Launchers recognise this class by its name in `run.json`."""


class PeerLostError(FailedError):
    """Another rank has failed or does not respond."""


class PeerGoneError(PeerLostError):
    """Another rank has ended without a reason, as when it is killed. Launchers recognise this class by its name."""


class DivergedError(FailedError):
    """The loss is no longer finite."""


def os_error_message(error: OSError) -> str:
    """Format an error of the file system, with the file if it is known: `runs/a/last.pt: No space left on device`."""
    return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
