"""The exceptions of training: how a run ends without a result. Light to import (no torch)."""


class StoppedOnRequest(Exception):
    """A signal asked for it: what was done is saved, start the run again to go on."""


class FailedError(Exception):
    """The run cannot go on. The message is one sentence for the user; the exit code is 1."""


class SavingError(FailedError):
    """What was done cannot be written to disk."""


class OutOfMemoryError(FailedError):
    """The run needs more memory than there is. Launchers know this class by its name in `run.json`."""


class PeerLostError(FailedError):
    """Another rank has failed, or does not answer."""


class PeerGoneError(PeerLostError):
    """Another rank has ended without a word, as those do that are killed. Launchers know this class by its name."""


class DivergedError(FailedError):
    """The loss is not a finite number any more."""


def os_error_message(error: OSError) -> str:
    """What the file system refused, with the file where it is known: `runs/a/last.pt: No space left on device`."""
    return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
