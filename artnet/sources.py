"""Digests of the source files that decide a result, to notice that a run was made by other code.

Comments, docstrings and formatting do not count. Each file has two digests, `BYTES TREE`: where the bytes are the same,
nothing is parsed, so that a plan takes milliseconds. Light to import (no torch).
"""

import ast
import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# What starts, watches and reports runs decides nothing in their results.
_NO_EFFECT = (
    "artnet/analysis/", "artnet/report.py", "artnet/compare.py", "artnet/embed.py", "artnet/embeddings.py",
    "artnet/evaluate.py", "artnet/export.py", "artnet/outliers.py", "artnet/predict.py", "artnet/predictions.py",
    *(
        f"artnet/inference/{name}.py"  # all but `forward` and `predict`, which decide the scores
        for name in (
            "answer_table", "answers", "embeddings", "ensemble", "evaluation", "export_check", "exported", "gallery",
            "grad_cam", "pictures", "plain_weights", "record", "sidecar", "temperature", "trained",
        )
    ),
    "artnet/config/keys.py", "artnet/config/suggest.py", "artnet/config/complaint.py",
    "artnet/heartbeat.py", "artnet/identity.py", "artnet/parquet.py", "artnet/processes.py", "artnet/provenance.py",
    "artnet/sources.py", "artnet/templates.py", "shards/demo/",
)  # fmt: skip
_NAME = re.compile(r"(artnet|shards)(/[A-Za-z0-9_]{1,99}){1,9}\.py")  # what is recorded is read from here, and shown
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def digests(root: Path = ROOT) -> dict[str, str]:
    """The digests of each file of artnet and shards, by its path below `root`."""
    files = sorted(file for package in ("artnet", "shards") for file in (root / package).rglob("*.py"))
    contents = {file.relative_to(root).as_posix(): file.read_bytes() for file in files}
    return {
        name: f"{_hash(content)} {_tree(content)}"
        for name, content in contents.items()
        if not name.startswith(_NO_EFFECT)
    }


def recorded(run: Mapping[str, Any]) -> list[dict[str, str]]:
    """The digests of the attempts that made a run, by the content of its `run.json`; none by an earlier version.

    Attempts before one that began at step 0 left nothing in it. Names that are not of such files are left out.
    """
    found = []
    for attempt in reversed(run.get("attempts", [])):
        sources = attempt.get("sources")
        if isinstance(sources, dict):
            found.append({name: str(digest) for name, digest in sources.items() if _NAME.fullmatch(name)})
        if not attempt.get("from_step"):
            break
    return found


def changed(before: Mapping[str, str], root: Path = ROOT) -> list[str]:
    """The files whose code is another now than when `before` was recorded. Those that are new or gone do not count:
    they matter only where a file that uses them has changed.
    """
    found = []
    for name, digest in before.items():
        file = root / name
        if not _NAME.fullmatch(name) or name.startswith(_NO_EFFECT) or not file.is_file():
            continue
        content = file.read_bytes()
        if _hash(content) != digest.partition(" ")[0] and _tree(content) != digest.partition(" ")[2]:
            found.append(name)
    return found


def differing(several: Iterable[Mapping[str, str]]) -> list[str]:
    """The files whose code is not the same in all of these records."""
    found: dict[str, dict[str, str]] = {}
    for record in several:
        for name, digest in record.items():
            bytes_, _, tree = digest.partition(" ")
            found.setdefault(name, {})[bytes_] = tree
    return sorted(name for name, trees in found.items() if len(set(trees.values())) > 1)


def named(files: Iterable[str]) -> str:
    """Files that differ, in words: `a.py differs`, `a.py, b.py and 3 more differ`."""
    first, *others = files
    if not others:
        return f"{first} differs"
    rest = f" and {len(others) - 1} more" if len(others) > 1 else ""
    return f"{first}{',' if rest else ' and'} {others[0]}{rest} differ"


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _tree(content: bytes) -> str:
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):  # in the middle of an edit
        return ""
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
    return _hash(ast.dump(tree).encode())
