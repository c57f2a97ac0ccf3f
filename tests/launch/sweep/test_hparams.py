"""TensorBoard's table of hyperparameters: one row for each run, from the start, with the keys that vary."""

import signal
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2, backend_context, get_experiment, list_session_groups

from artnet.training.tensorboard import FILE_NAME
from launch.grid import load
from launch.grid.search_space import SearchSpace
from launch.sweep.folder import note_state
from launch.sweep.hparams import HparamsTable
from launch.sweep.state import State
from tests.artnet import runs
from tests.launch.tiny_grid import complete


def table(folder: Path) -> tuple[set[str], set[str], dict[str, tuple[dict[str, Any], dict[str, float]]]]:
    """What TensorBoard shows of a folder: the keys, the metrics, and the values of both by run."""
    found = EventMultiplexer().AddRunsFromDirectory(str(folder))
    found.Reload()
    context = backend_context.Context(TBContext(data_provider=MultiplexerDataProvider(found, str(folder))))
    request, states = RequestContext(), list(map(api_pb2.Status.Value, ("STATUS_RUNNING", "STATUS_SUCCESS")))
    columns = get_experiment.Handler(request, context, "", api_pb2.GetExperimentRequest()).run()
    query = api_pb2.ListSessionGroupsRequest(slice_size=1000, allowed_statuses=[0, *states])
    rows = list_session_groups.Handler(request, context, "", query).run().session_groups
    by_run = {}
    for row in rows:
        (session,) = row.sessions
        values = {key: getattr(value, value.WhichOneof("kind")) for key, value in row.hparams.items()}
        by_run[session.name] = (values, {one.name.tag: one.value for one in session.metric_values})
    return {one.name for one in columns.hparam_infos}, {one.name.tag for one in columns.metric_infos}, by_run


def test_each_run_is_one_row_however_it_ends(trainable):
    folders = trainable.plan(seeds=4, parameters={"seed": [0, 1, 2, 3], "optim.lr": [0.125]})
    trained, stopped, failed, waiting = folders
    runs.train(trained.config_file, trained.path)
    runs.train(stopped.config_file, stopped.path, signals=[(0, trained.result().steps - 1, signal.SIGTERM)])
    note_state(stopped, State.STOPPED_EARLY, "after epoch 1 of 3", stopped_epoch=1)
    note_state(failed, State.FAILED, "its node")
    keys, metrics, rows = table(trainable.sweep.folder)
    assert keys == {"seed"}
    assert metrics == {"val/top1", "z_best/val/style/top1", "z_best/test/style/top1"}
    assert {name: values["seed"] for name, (values, _) in rows.items()} == {
        folder.name: seed for seed, folder in enumerate(folders)
    }
    assert all(values.keys() == {"seed"} for values, _ in rows.values())
    scored = rows[trained.name][1]
    result = trained.result()
    assert scored["z_best/test/style/top1"] == pytest.approx(result.tasks["style"].test.top1)
    assert scored["val/top1"] == pytest.approx(trained.epochs()[-1]["val/top1"])
    assert b"train.batch_size" not in (trained.tensorboard / FILE_NAME).read_bytes()  # as a run without launcher has
    assert waiting.hparams_file.exists() and not rows[waiting.name][1]


def test_a_search_has_no_column_of_test_and_one_for_each_kind_of_value(tiny):
    tiny.write(
        parameters={
            "optim.lr": {"loguniform": [0.01, 1.0]},
            "model.attention": {"choice": ["none", "se"]},
            "data.sampler": {"choice": ["shuffle"]},
        },
        conditional=[{"when": {"model.attention": "se"}, "parameters": {"model.se_reduction": {"randint": [4, 8]}}}],
        metric={"name": "val/style/nll", "goal": "minimize"},
    )
    loaded = load(tiny.file)
    space = SearchSpace(loaded)
    drawn = HparamsTable(loaded, [space.run(space.random(0, number, 0)) for number in range(5)])
    assert list(drawn.metrics) == ["val/style/nll", "val/top1", "z_best/val/style/top1"]
    assert list(drawn.values) == ["optim.lr", "model.attention", "model.se_reduction"]


def test_a_row_is_written_again_only_when_the_grid_varies_more(tiny):
    first, earlier = tiny.plan(seeds=2)
    before = first.hparams_file.stat().st_mtime_ns
    complete(first)
    complete(earlier)
    earlier.hparams_file.unlink()  # the training of an earlier version has written its row itself
    tiny.plan(seeds=2)
    assert first.hparams_file.stat().st_mtime_ns == before
    tiny.plan(parameters={"seed": [0, 1], "optim.momentum": [0.9, 0.8]})
    keys, _, rows = table(tiny.sweep.folder)
    assert keys == {"seed", "optim.momentum"}
    assert rows[first.name][0] == {"seed": 0, "optim.momentum": 0.9}
    assert len(rows) == 3 and not earlier.hparams_file.exists()
