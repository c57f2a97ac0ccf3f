from artnet.analysis.outliers.folds import fold_grid, grid_name
from artnet.config import build, unflatten
from launch.grid.expand import expand
from launch.grid.schema import load


def test_the_grid_trains_the_same_configuration_once_for_each_fold(tmp_path):
    config = build(unflatten({
        "recipe": "paper", "task": ["artist", "style"], "seed": 3, "data.shards": str(tmp_path), "data.size": 40,
        "model.recurrence": "lstm", "loss.weights.style": 2, "train.precision": "bf16", "data.folds": 3, "data.fold": 2,
    }))  # fmt: skip
    file = tmp_path / "folds.yaml"
    file.write_text(fold_grid(config, "resnet50_artist+style_s0", 5))
    grid = load(file)
    runs = expand(grid).runs
    assert grid.name == "resnet50_artist-style_s0-folds"
    for fold, run in enumerate(runs):
        data = config.data.model_copy(update={"folds": 5, "fold": fold})
        assert run.config == config.model_copy(update={"data": data})
        assert run.values == {"data.fold": fold}
    assert len(runs) == 5


def test_the_name_of_the_grid_is_one_that_a_grid_may_have():
    assert grid_name("../a b" + "x" * 200) == "-a-b" + "x" * 90 + "-folds"
