"""The exceptions of training, for runs that end without a result. Light to import (no torch)."""


class StoppedOnRequest(Exception):
    """A signal requested a stop. The progress is saved: start the run again to resume."""


class FailedError(Exception):
    """The run cannot continue. The message is one sentence for the user; the exit code is 1."""


class SavingError(FailedError):
    """A checkpoint or result cannot be written to disk."""


class FolderGoneError(FailedError):
    """The run's folder was deleted or moved while it was being trained."""


class OutOfMemoryError(FailedError):
    """The run needs more memory than is available. Launchers recognise this class by its name in `run.json`."""


class PeerLostError(FailedError):
    """Another rank has failed or does not respond."""


class PeerGoneError(PeerLostError):
    """Another rank has ended without a reason, as when it is killed. Launchers recognise this class by its name."""


class DivergedError(FailedError):
    """The loss is no longer finite."""


# What torch, cuBLAS, cuDNN, NCCL and their drivers write when an allocation fails; on CPUs the first two.
_OUT_OF_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "OUT_OF_MEMORY",
    "STATUS_ALLOC_FAILED",
    "ALLOCATION_FAILED",
    "Failed to CUDA calloc",
    "Failed to CUDA malloc",
    "Failed to CUDA host alloc",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is a failed allocation: of torch or its libraries on a GPU or a CPU, NumPy or Python."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY)
    )


def os_error_message(error: OSError) -> str:
    """Format an error of the file system, with the file if it is known: `runs/a/last.pt: No space left on device`."""
    return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
