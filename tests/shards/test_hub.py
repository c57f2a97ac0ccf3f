"""shards/hub: the rows of the parquet files become images and lists to pack, with classes matched by name."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shards.hub import main, normalized_name, unpack
from shards.index import read_index
from shards.labels import read_labels
from shards.pack import pack
from shards.tasks import TASKS, UNLABELLED
from tests.conftest import WIKIART, needs_wikiart

LABELS = WIKIART / "labels"


def write_parquet(file: Path, names: dict[str, list[str]], rows: list[tuple]) -> None:
    """Write rows of image bytes, artist, genre and style in the format of the hub."""
    features = {task: {"names": own, "_type": "ClassLabel"} for task, own in names.items()}
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([("image", image), *((task, pa.int64()) for task in ("artist", "genre", "style"))])
    schema = schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    columns = ("image", "artist", "genre", "style")
    table = [dict(zip(columns, ({"bytes": row[0], "path": None}, *row[1:]), strict=True)) for row in rows]
    file.parent.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(table, schema=schema), file)


@needs_wikiart
def test_every_row_keeps_its_image_and_its_classes_by_name(in_process, tmp_path):
    names = {
        "artist": ["Unknown Artist", "vincent-van-gogh", "somebody-else", "claude monet"],
        "genre": ["Unknown Genre", "sketch_and_study", "still-life"],
        "style": ["Ukiyo_e", "Naïve_Art_Primitivism", "Rococo"],
    }
    files = sorted((WIKIART / "images" / "Rococo").glob("*.jpg"))[:72]
    rows = [(file.read_bytes(), n % 4, n % 3, n // 4 % 3) for n, file in enumerate(files[:-1])]
    rows.append((files[-1].read_bytes(), -1, None, -1))
    write_parquet(tmp_path / "hub" / "a.parquet", names, rows[:40])
    write_parquet(tmp_path / "hub" / "b.parquet", names, rows[40:])
    args = [str(tmp_path / "hub"), "--labels", str(LABELS), "--out", str(tmp_path / "out")]
    assert main(args) == main(args) == 0
    pack(tmp_path / "out/images", tmp_path / "out/labels", tmp_path / "packed", protocol="study")
    index = read_index(tmp_path / "packed")
    assert index.classes == read_labels(LABELS).classes
    # Images this small are packed byte for byte.
    packed = {(tmp_path / "out/images" / row["path"]).read_bytes(): row for row in index.table.to_pylist()}
    assert packed.keys() == {row[0] for row in rows[:-1]}
    ours = {task: {normalized_name(own): n for n, own in enumerate(index.classes[task])} for task in TASKS}
    expected = {
        "artist": [UNLABELLED, ours["artist"]["vincent van gogh"], UNLABELLED, ours["artist"]["claude monet"]],
        "genre": [UNLABELLED, ours["genre"]["sketch and study"], ours["genre"]["still life"]],
        "style": [ours["style"][name] for name in ("ukiyo e", "naive art primitivism", "rococo")],
    }
    for image, artist, genre, style in rows[:-1]:
        row = packed[image]
        labels = {"artist": artist, "genre": genre, "style": style}
        assert {task: row[task] for task in TASKS} == {task: expected[task][label] for task, label in labels.items()}
    assert {"train", "val", "test"} <= set(index.table["split_style"].to_pylist())


@needs_wikiart
@pytest.mark.parametrize("wrong", ["no files", "no names", "no bytes", "cut short"])
def test_other_parquet_files_are_refused_in_one_sentence(tmp_path, capsys, wrong):
    file = tmp_path / "hub" / "a.parquet"
    names = {task: ["x"] for task in (TASKS if wrong != "no names" else ("style",))}
    write_parquet(file, names, [(None if wrong == "no bytes" else b"jpeg", 0, 0, 0)])
    if wrong == "no files":
        file.unlink()
    if wrong == "cut short":
        file.write_bytes(file.read_bytes()[:-9])
    assert main([str(file.parent), "--labels", str(LABELS), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert str(file.parent) in error
    assert not (tmp_path / "out" / "labels").exists()


@needs_wikiart
def test_every_class_of_artgan_is_matched_however_the_hub_spells_it(tmp_path):
    classes = read_labels(LABELS).classes
    names = {task: ["Unknown"] + [name.lower().replace("_", "-") for name in own] for task, own in classes.items()}
    names["style"][names["style"].index("art-nouveau")] = "Art_Nouveau_Modern"  # the name of the folder of its images
    rows = [(bytes([n]), *(min(n, len(names[task]) - 1) for task in ("artist", "genre", "style"))) for n in range(28)]
    write_parquet(tmp_path / "hub" / "a.parquet", names, rows)
    counts = unpack(tmp_path / "hub", LABELS, tmp_path / "out")
    assert {task: list(count) for task, count in counts.items()} == classes
    assert min(min(count.values()) for count in counts.values()) > 0
    for task, own in classes.items():
        lines = (tmp_path / "out" / "labels" / f"{task}_train.csv").read_text().splitlines()
        assert {int(line.rpartition(",")[2]) for line in lines} == set(range(len(own)))
