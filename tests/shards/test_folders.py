"""shards/folders, pack: a folder for each class, and shards with tasks of one's own."""

import dataclasses
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image

from shards.errors import UserError
from shards.folders import read_folders
from shards.index import OF_ARTGAN, VERSION, read_index
from shards.pack import main


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two classes with 20 pictures each that differ."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(40):
        inside = folder / ("Big cats" if number % 2 else "dogs") / ("deep" if number % 3 else "")
        inside.mkdir(parents=True, exist_ok=True)
        noise = Image.effect_noise((6, 6), 90).resize((60, 60))
        noise.save(inside / f"{number}.{'png' if number % 5 else 'tif'}")
    return folder


def _packed(out: Path) -> tuple[dict[str, Any], Any]:
    return json.loads((out / "report.json").read_bytes()), read_index(out)


def test_each_folder_is_a_class_of_one_task(pictures, in_process, tmp_path, capsys):
    command = ["--folders", str(pictures), "--out", str(tmp_path / "out")]
    assert main([*command, "--task", "animal"]) == 0
    report, index = _packed(tmp_path / "out")
    assert index.classes == {"animal": ["Big cats", "dogs"]}
    assert report["splits"] == {"animal": {"train": 29, "val": 3, "test": 8}}
    assert all((row["animal"] == 1) == row["path"].startswith("dogs/") for row in index.table.to_pylist())
    assert main(command) == 2  # the task is another one
    assert "holds shards of other paintings, labels or settings" in capsys.readouterr().err
    assert read_folders(pictures).classes == {"class": ["Big cats", "dogs"]}


def test_folders_of_splits_are_splits_and_those_in_them_classes(pictures, tmp_path):
    for split in ("Train", "valid", "test"):
        shutil.copytree(pictures, tmp_path / split)
    (tmp_path / "Train/loose.png").touch()
    labels = read_folders(tmp_path)
    assert labels.classes == {"class": ["Big cats", "dogs"]}
    assert Counter(painting.split for painting in labels.paintings.values()) == {"train": 40, "val": 40, "test": 40}


def test_a_folder_without_classes_is_refused(pictures, tmp_path):
    with pytest.raises(UserError, match="has no folders with images"):
        read_folders(pictures / "dogs" / "deep")
    shutil.copytree(pictures, tmp_path / "all")
    with pytest.raises(UserError, match=r"in one folder only, 'all', .* give the folder that holds the classes"):
        read_folders(tmp_path)


def test_a_table_is_packed_with_tasks_of_ones_own(pictures, in_process, tmp_path, capsys):
    files = sorted(path.relative_to(pictures) for path in pictures.rglob("*.*"))
    rows = [(path.with_suffix(".jpg"), path.parts[0], n % 3) for n, path in enumerate(files)]
    frame = pd.DataFrame(rows, columns=["file_name", "animal", "period"])
    frame.to_csv(tmp_path / "t.csv", index=False)
    command = ["--images", str(pictures), "--table", str(tmp_path / "t.csv"), "--out"]
    assert main([*command, str(tmp_path / "out"), "--task", "animal,period"]) == 0
    report, index = _packed(tmp_path / "out")
    assert index.classes == {"animal": ["Big cats", "dogs"], "period": ["0", "1", "2"]}
    assert index.tasks == ("animal", "period")
    assert report["splits"].keys() == {"animal", "period", "combined"}
    found = {(row["path"], row["animal"], row["period"]) for row in index.table.to_pylist()}
    assert found == {(path.as_posix(), int(name == "dogs"), period) for path, name, period in rows}
    about = json.loads(pq.read_schema(tmp_path / "out/index.parquet").metadata[b"artnet"])
    assert about["version"] == VERSION > OF_ARTGAN
    with pytest.raises(UserError, match=r"no task dog in the shards in .*; they have the tasks animal, period$"):
        index.select("train", ("dog",))
    frame.assign(split="val").to_csv(tmp_path / "t.csv", index=False)
    assert main([*command, str(tmp_path / "out2"), "--task", "animal"]) == 2
    assert "no painting has the split train, only val; name those to train on" in capsys.readouterr().err
    assert not (tmp_path / "out2").exists()
    frame.to_csv(tmp_path / "t.csv", index=False)
    assert main([*command, str(tmp_path / "out2")]) == 2
    assert "say which are the tasks: --task COLUMN" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--table", "t.csv"], "--images is missing"),
        (["--folders", "x", "--images", "x"], "--folders names the images too"),
        (["--folders", "x", "--task", "a", "b"], "--task a b: folders have one task"),
        (
            ["--folders", "x", "--task", "Path"],
            "--task Path: folders have one task, and the name of a task is up to",
        ),
        (["--labels", "x", "--images", "x", "--task", "style"], "--task is for --table and --folders"),
        (["--folders", "x", "--protocol", "study"], "--protocol study is for ArtGAN's lists"),
        (["--table", "none.csv", "--images", "x"], "none.csv cannot be read (No such file or directory)"),
    ],
)
def test_options_that_do_not_belong_together_are_refused_in_one_sentence(tmp_path, capsys, options, said):
    assert main([*options, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {said}")
    assert error.count("\n") == 1


def test_labels_of_three_default_tasks_have_the_index_that_earlier_versions_read(pictures, in_process, tmp_path):
    files = [path.relative_to(pictures).as_posix() for path in pictures.rglob("*.*")]
    frame = pd.DataFrame([(path, *["xyz"[n % k] for k in (2, 3, 2)]) for n, path in enumerate(files)])
    frame.to_csv(tmp_path / "t.csv", index=False, header=["path", "genre", "style", "artist"])
    assert main(["--images", str(pictures), "--table", str(tmp_path / "t.csv"), "--out", str(tmp_path / "out")]) == 0
    schema = pq.read_schema(tmp_path / "out/index.parquet")
    assert json.loads(schema.metadata[b"artnet"])["version"] == OF_ARTGAN
    assert [name for name in schema.names if name in ("artist", "style", "genre")] == ["artist", "style", "genre"]
    assert dataclasses.asdict(read_index(tmp_path / "out"))["classes"]["style"] == ["x", "y", "z"]
