"""The structure: who may import whom, as CONTRIBUTING says it, and how long a file may be."""

import ast
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.conftest import ROOT

# A room, and the rooms of the project that it may import beside itself. The first room that a module begins with is
# its own; imports go from a room to those below it. A module that is in none may import nothing of the project.
ROOMS = {
    "launch.local": ("launch", "shards.errors", "shards.numbers"),
    "launch.slurm": ("launch", "shards.errors", "shards.numbers"),
    "launch.tune": ("launch", "shards.errors", "shards.numbers"),
    "launch.commands": ("launch.sweep", "launch.grid", "launch.console", "artnet", "shards"),
    "launch.search": (
        "launch.cluster", "launch.machine", "launch.sweep", "launch.host", "launch.grid",
        "launch.console", "artnet", "shards",
    ),
    "launch.cluster": ("launch.sweep", "launch.host", "launch.grid", "launch.console", "artnet", "shards"),
    "launch.machine": ("launch.sweep", "launch.host", "launch.grid", "launch.console", "artnet", "shards"),
    "launch.sweep": ("launch.host", "launch.grid", "artnet", "shards"),
    "launch.host": ("shards.errors", "shards.files", "shards.locks", "shards.workers"),
    "launch.grid": (
        "artnet.config", "artnet.formats", "artnet.rundir", "artnet.weights",
        "shards.errors", "shards.numbers", "shards.tasks",
    ),
    "launch.console": ("shards.errors", "shards.streams"),
    "artnet.train": ("artnet", "shards"),
    "artnet.report": ("artnet", "shards"),
    "artnet.outliers": ("artnet", "shards"),
    "artnet.evaluate": ("artnet", "shards"),
    "artnet.compare": ("artnet", "shards"),
    "artnet.predict": ("artnet", "shards"),
    "artnet.embed": ("artnet", "shards"),
    "artnet.export": ("artnet", "shards"),
    "artnet.training": ("artnet.inference", "artnet.data", "artnet.models", *(CORE := (
        "artnet.checkpoint", "artnet.config", "artnet.distributed", "artnet.embeddings", "artnet.errors",
        "artnet.formats", "artnet.heartbeat", "artnet.predictions", "artnet.provenance", "artnet.result",
        "artnet.rundir", "artnet.sources", "artnet.stop",
    )), "shards"),
    "artnet.inference": ("artnet.data", "artnet.models", "artnet.templates", *CORE, "shards"),
    "artnet.analysis": (
        "artnet.config", "artnet.embeddings", "artnet.formats", "artnet.predictions", "artnet.provenance",
        "artnet.result", "artnet.rundir", "artnet.search_log", "artnet.sources", "artnet.templates", "shards",
    ),
    "artnet.models": (
        "artnet.checkpoint", "artnet.config", "artnet.errors", "artnet.weights", "shards.errors", "shards.files",
    ),
    "artnet.data": ("artnet.config", "shards"),
    "artnet.distributed": ("artnet.errors", "shards.errors", "shards.workers"),
    "artnet.checkpoint": ("shards.errors", "shards.files"),
    "artnet.identity": ("artnet.weights", "artnet.config", "artnet.rundir", "shards.errors"),
    "artnet.weights": ("artnet.config", "artnet.rundir", "shards"),
    "artnet.processes": ("artnet.rundir", "artnet.stop", "shards.workers"),
    "artnet.provenance": ("artnet.private", "artnet.rundir"),
    "artnet.stop": ("artnet.rundir",),
    "artnet.embeddings": ("artnet.config", "artnet.parquet", "shards.files", "shards.tasks"),
    "artnet.predictions": ("artnet.config", "artnet.parquet", "shards.files"),
    "artnet.parquet": ("artnet.formats", "shards.errors", "shards.parquet"),
    "artnet.search_log": ("artnet.rundir", "shards.files"),
    "artnet.rundir": (
        "artnet.config", "artnet.errors", "artnet.formats", "artnet.result", "shards.errors", "shards.files",
        "shards.locks", "shards.streams",
    ),
    "artnet.result": ("artnet.config", "artnet.formats"),
    "artnet.config": ("artnet.formats", "shards.errors", "shards.files", "shards.numbers", "shards.tasks"),
    "artnet.formats": ("shards.errors",),
    "shards.demo": ("shards",),
    "shards": (),
}  # fmt: skip
BARRED = {"launch": ("ray", "submitit", "torch")}  # run as a script, launch/ is first on the path and would shadow them
PACKAGES = ("artnet", "launch", "shards")

# Launchers know nothing of how a run is trained, only its configuration, its directory and its report, and ask whether
# weights fit it.
LAUNCH_MAY = (
    "artnet.config", "artnet.formats", "artnet.models.pretrained", "artnet.private", "artnet.provenance",
    "artnet.report", "artnet.rundir", "artnet.search_log", "artnet.sources", "artnet.weights",
)  # fmt: skip


@cache
def modules() -> dict[str, Path]:
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    return {".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file for file in files}


def imports(module: str, file: Path) -> set[str]:
    """The modules of the project that a module imports, those within functions too."""
    known, found = modules(), set()
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            found |= {f"{base}.{alias.name}" if f"{base}.{alias.name}" in known else base for alias in node.names}
    return {name for name in found if name.partition(".")[0] in PACKAGES}


def is_in(name: str, room: str) -> bool:
    return name == room or name.startswith(f"{room}.")


@pytest.mark.parametrize(("module", "file"), modules().items())
def test_imports_go_one_way(module, file):
    room = next((room for room in ROOMS if is_in(module, room)), module)
    allowed = ROOMS.get(room, ())
    for name in imports(module, file):
        assert is_in(name, room) or any(is_in(name, other) for other in allowed), f"{module} imports {name}"
        if module.startswith("launch.") and name.startswith("artnet."):
            assert any(is_in(name, other) for other in LAUNCH_MAY), f"{module} imports {name}"


def test_no_modules_import_one_another():
    graph = {module: imports(module, file) - {module} for module, file in modules().items()}
    TopologicalSorter({module: names - {*PACKAGES} for module, names in graph.items()}).prepare()


def test_no_module_shadows_a_library():
    for package, names in BARRED.items():
        assert not [
            name for name in names if (ROOT / package / f"{name}.py").exists() or (ROOT / package / name).exists()
        ]
