"""Residual networks with recurrence along depth, attention and one head per task."""

from artnet.models.build import build_model

__all__ = ["build_model"]
