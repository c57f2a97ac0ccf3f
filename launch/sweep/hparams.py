"""The row of a run in TensorBoard's table of hyperparameters, written before the run begins.

The launcher knows which keys vary over the sweep, and its row is there however the run ends. TensorBoard takes the
columns of the table from one of the runs, so that all of them name the same: the varied keys, and a few metrics.
"""

import io
import time
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from artnet.rundir import TENSORBOARD_BEST, RunDir
from shards.files import atomic_write, read_bounded

from ..grid import Grid, Run
from ..grid.expand import distributions

MAX_BYTES = 10_000_000


def varied(grid: Grid, keys: Sequence[str]) -> list[str]:
    """Those of the `keys` of a grid's runs that have more than one possible value; all of them if none has."""
    one = {key for axis in grid.space.axes if len(axis) == 1 for key in axis[0]}
    one |= {draw.key for draw in grid.space.draws if draw.size == 1}
    one -= {key for key, position in grid.stated if position[0] in ("conditional", "include")}
    return [key for key in keys if key not in one] or list(keys)


class HparamsTable:
    """The table of a sweep. `everything` are its runs, `metrics` the tags of its columns with their titles."""

    def __init__(self, grid: Grid, everything: Sequence[Run]) -> None:
        keys = varied(grid, list(dict.fromkeys(key for run in everything for key in run.values)))
        self.values = {key: [_plain(run.values[key]) for run in everything if key in run.values] for key in keys}
        splits = ("val",) if distributions(grid) else ("val", "test")  # a search is judged on val alone
        tasks = dict.fromkeys(task for run in everything for task in run.config.task)
        best = [f"{split}/{task}/top1" for split in splits for task in tasks]
        self.metrics = dict.fromkeys([grid.metric["name"], "val/top1"], "")
        self.metrics |= {f"{TENSORBOARD_BEST}/{name}": f"best {name}" for name in best}

    def write_row(self, folder: RunDir, run: Run) -> None:
        """Write the row of a run to its folder, unless it is there."""
        from tensorboard.compat.proto.event_pb2 import Event  # here: only what commits runs waits for it
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.hparams.metadata import SESSION_START_INFO_TAG
        from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionStartInfo
        from tensorboard.summary.writer.record_writer import RecordWriter

        start = SessionStartInfo()
        for key in self.values:
            if key in run.values:
                _set(start.hparams[key], _plain(run.values[key]))
        row = _tagged(SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=start))
        summary = Summary(value=[self._columns, row])
        if summary.SerializeToString(deterministic=True) in _content(folder):
            return
        now = time.time()
        file = io.BytesIO()
        records = RecordWriter(file)
        for event in (Event(wall_time=now, file_version="brain.Event:2"), Event(wall_time=now, summary=summary)):
            records.write(event.SerializeToString(deterministic=True))
        atomic_write(folder.hparams_file, file.getvalue())

    @cached_property
    def _columns(self) -> Any:
        from tensorboard.plugins.hparams.api_pb2 import Experiment, HParamInfo, MetricInfo, MetricName
        from tensorboard.plugins.hparams.metadata import EXPERIMENT_TAG
        from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

        columns = Experiment(
            hparam_infos=[HParamInfo(name=key, type=_type(of), differs=True) for key, of in self.values.items()],
            metric_infos=[
                MetricInfo(name=MetricName(tag=tag), display_name=title) for tag, title in self.metrics.items()
            ],
        )
        return _tagged(EXPERIMENT_TAG, HParamsPluginData(experiment=columns))


def _tagged(tag: str, content: Any) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.plugins.hparams.metadata import NULL_TENSOR, PLUGIN_NAME

    data = SummaryMetadata.PluginData(plugin_name=PLUGIN_NAME, content=content.SerializeToString(deterministic=True))
    return Summary.Value(tag=tag, metadata=SummaryMetadata(plugin_data=data), tensor=NULL_TENSOR)


def _content(folder: RunDir) -> bytes:
    try:
        return read_bounded(folder.hparams_file, MAX_BYTES)
    except OSError:
        return b""


def _plain(value: Any) -> bool | float | str:
    """A value as TensorBoard holds it."""
    if isinstance(value, bool | int | float):
        return value
    return " + ".join(map(str, value)) if isinstance(value, list) else "none" if value is None else str(value)


def _type(values: Sequence[bool | float | str]) -> Any:
    """The type of a column; text where the values are of several."""
    from tensorboard.plugins.hparams.api_pb2 import DataType

    kinds = {"STRING" if isinstance(v, str) else "BOOL" if isinstance(v, bool) else "FLOAT64" for v in values}
    return DataType.Value(f"DATA_TYPE_{kinds.pop() if len(kinds) == 1 else 'STRING'}")


def _set(field: Any, value: bool | float | str) -> None:
    if isinstance(value, bool):
        field.bool_value = value
    elif isinstance(value, str):
        field.string_value = value
    else:
        field.number_value = value
