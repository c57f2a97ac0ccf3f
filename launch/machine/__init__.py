"""Engine 1: runs on this machine."""

from .backend import MachineBackend
from .pool import is_left_running

__all__ = ["MachineBackend", "is_left_running"]
