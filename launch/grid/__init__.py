"""Load a grid file and expand it into runs."""

from .expand import expand, sources
from .schema import Expansion, Grid, Run, load

__all__ = ["Expansion", "Grid", "Run", "expand", "load", "sources"]
