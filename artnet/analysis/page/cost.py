"""Cost and accuracy: what each model needs for its test top-1, and which models no other beats at both."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from ..results import Run
from ..statistics import estimate
from ..summary import Group
from .digits import percent, rounded
from .resources import Resources

# What is compared with top-1, and whether more of it is better.
AXES = {"parameters": False, "gpu_hours": False, "images_per_s": True}


def cost(groups: Sequence[Group], resources: Mapping[str, Resources]) -> list[dict[str, Any]]:
    """A point for each model, task and kind of device with a result. Figures are means over the runs."""
    points = []
    for model, group in enumerate(groups):
        for task in group.cells:
            by_device: dict[str, list[Run]] = defaultdict(list)
            for run in group.runs:
                if task in run.scores:
                    by_device[resources[run.name].device].append(run)
            points += [_point(model, task, device, runs, resources) for device, runs in by_device.items()]
    for point in points:
        rivals = [one for one in points if one["task"] == point["task"]]
        point["pareto"] = {axis: _is_best(point, rivals, axis) for axis in AXES}
    return points


def _point(
    model: int, task: str, device: str, runs: Sequence[Run], resources: Mapping[str, Resources]
) -> dict[str, Any]:
    scores = [run.scores[task].test for run in runs]
    found = estimate([score.top1 for score in scores], scores[0].n)
    known = [resources[run.name] for run in runs]
    low, high = found.interval or (None, None)
    return {
        "model": model,
        "task": task,
        "top1": percent(found.mean),
        "low": percent(low),
        "high": percent(high),
        "parameters": runs[0].result.parameters if runs[0].result else None,
        "gpu_hours": _mean([one.device_hours for one in known]),
        "images_per_s": _mean([one.images_per_s for one in known]),
        "device": device,
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return rounded(fmean(known)) if known else None


def _is_best(point: dict[str, Any], rivals: Sequence[dict[str, Any]], axis: str) -> bool:
    """Whether no rival has both more top-1 and less cost. Time and speed are compared on the same kind of device."""
    if point[axis] is None:
        return False
    own = _worth(point, axis)
    for rival in rivals:
        if rival[axis] is None or (axis != "parameters" and rival["device"] != point["device"]):
            continue
        other = _worth(rival, axis)
        if other != own and other[0] >= own[0] and other[1] >= own[1]:
            return False
    return True


def _worth(point: dict[str, Any], axis: str) -> tuple[float, float]:
    return point["top1"], point[axis] if AXES[axis] else -point[axis]
