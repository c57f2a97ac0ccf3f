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


@pytest.mark.slow
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
@pytest.mark.parametrize("images", ["struct", "plain"])
@pytest.mark.parametrize("text", [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())])
def test_names_as_labels_and_plain_bytes_as_images_are_read_and_rows_without_an_image_are_named(
    tmp_path, capsys, images, text
):
    rows = [
        (b"one", "Claude Monet"),
        (None, "Claude Monet"),
        (b"two", "nobody"),
        (b"", None),
        (b"three", "boris-kustodiev"),
    ]
    columns = {"style": pa.array(["Cubism", "Art_Nouveau_Modern", "Rococo", "Rococo", None]).cast(text)}
    columns["artist"] = pa.array([name for _, name in rows]).cast(text)
    if images == "plain":
        columns["image"] = pa.array([image for image, _ in rows], pa.binary())
    else:
        columns["image"] = pa.array([{"bytes": image, "path": f"{n}.jpg"} for n, (image, _) in enumerate(rows)])
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    assert main([str(tmp_path / "a.parquet"), "--labels", str(LABELS), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr()
    reason = "no image" if images == "plain" else "no image, only its path 1.jpg"
    assert f"left out: {tmp_path}/a.parquet, row 2: {reason}\n" in said.err
    assert "2 rows left out; see " in said.out
    report = json.loads((tmp_path / "out/report.json").read_bytes())
    assert list(report["left_out"]) == [f"{tmp_path}/a.parquet, row {row}" for row in (2, 4)]
    labels = read_labels(tmp_path / "out/labels")
    found = {
        (tmp_path / "out/images" / path).read_bytes(): {
            task: labels.classes[task][n] for task, n in painting.labels.items()
        }
        for path, painting in labels.paintings.items()
    }
    assert found == {
        b"one": {"artist": "Claude_Monet", "style": "Cubism"},
        b"two": {"style": "Rococo"},
        b"three": {"artist": "Boris_Kustodiev"},
    }


@needs_wikiart
def test_a_class_without_a_name_is_named_with_its_row(tmp_path):
    write_parquet(tmp_path / "a.parquet", {task: ["Cubism"] for task in TASKS}, [(b"x", -1, -1, 0), (b"y", 0, 0, 7)])
    _, left_out = unpack(tmp_path, LABELS, tmp_path / "out")
    assert left_out == {f"{tmp_path}/a.parquet, row 2": "style 7 is not one of 1 classes"}


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
    counts, _ = unpack(tmp_path / "hub", LABELS, tmp_path / "out")
    assert {task: list(count) for task, count in counts.items()} == classes
    assert min(min(count.values()) for count in counts.values()) > 0
    for task, own in classes.items():
        lines = (tmp_path / "out" / "labels" / f"{task}_train.csv").read_text().splitlines()
        assert {int(line.rpartition(",")[2]) for line in lines} == set(range(len(own)))
