"""Engine 1: runs on this machine."""

from .backend import LocalBlock, MachineBackend
from .pool import Pool, is_left_running, progress_bars

__all__ = ["LocalBlock", "MachineBackend", "Pool", "is_left_running", "progress_bars"]
