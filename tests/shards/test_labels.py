"""shards/labels: both published forms of the lists are read, and broken lists are refused by file and line."""

import dataclasses
import shutil

import pytest

from shards.errors import UserError
from shards.index import read_index
from shards.labels import read_labels
from shards.pack import main as pack
from shards.tasks import TASKS, UNLABELLED
from tests.conftest import WIKIART, needs_wikiart

CLASSES = {"artist": ["Claude_Monet", "Ivan_Shishkin"], "style": ["Art_Nouveau", "Cubism"], "genre": ["portrait"]}


ROWS = {
    "artist_train": [("Cubism/a_one.jpg", 1), ("Cubism/a_two, or three.jpg", 0)],
    "artist_val": [("Art_Nouveau_Modern/joaqu\xe3\xadn_\x85.jpg", 1)],
    "style_train": [("Cubism/a_one.jpg", 1), ("Cubism/a_two, or three.jpg", 1)],
    "style_val": [("Art_Nouveau_Modern/joaqu\xe3\xadn_\x85.jpg", 0), ("Cubism/a_one.jpg", 0)],
    "genre_train": [("Cubism/a_one.jpg", 0)],
    "genre_val": [],
}


def write_lists(folder, form):
    """Write the lists above in the form of ArtGAN's repository or of its zip, which an editor may have changed."""
    folder.mkdir()
    for stem, lines in {**{f"{task}_class": names for task, names in CLASSES.items()}, **ROWS}.items():
        if stem.endswith("class"):
            name, text = f"{stem}.txt", "".join(f"{n} {line}\n" for n, line in enumerate(lines))
        else:
            quote = '"' if form == "quoted" else ""
            name, text = f"{stem}.csv", "".join(f"{quote}{path}{quote},{label}\n" for path, label in lines)
        if form == "repository":
            if stem.startswith("artist"):
                name = stem
            if stem in ("artist_train", "artist_val"):
                text = "(Path to image),, (Groundtruth class)\n\n" + text.replace(".jpg,", ".jpg,,")
        if form == "CRLF":
            text = text.replace("\n", "\r\n")
        (folder / name).write_bytes(text.encode("utf-8-sig" if form == "BOM" else "utf-8"))


@pytest.mark.parametrize("form", ["zip", "BOM", "CRLF", "quoted"])
def test_both_published_forms_are_read_to_the_same_table(tmp_path, form):
    write_lists(tmp_path / "Artist", "repository")
    write_lists(tmp_path / "wikiart_csv", form)
    one, other = read_labels(tmp_path / "Artist"), read_labels(tmp_path / "wikiart_csv")
    assert dataclasses.replace(one, digest="") == dataclasses.replace(other, digest="")
    assert one.classes == CLASSES
    assert set(one.paintings) == {path for rows in ROWS.values() for path, _ in rows}
    with pytest.raises(UserError, match=r"Artist/artist_class and .*wikiart_csv/artist_class\.txt"):
        read_labels(tmp_path)


def test_lists_of_one_task_or_of_other_tasks_are_enough(paintings, in_process, tmp_path, capsys):
    lists, out = tmp_path / "labels", tmp_path / "out"
    shutil.copytree(paintings / "labels/Style", lists)
    for file in sorted(lists.iterdir()):
        shutil.copy(file, lists / file.name.replace("style", "animal"))
    (lists / "other_class.txt").write_text("0 x")  # without lists, it is none of ours
    labels = read_labels(lists)
    assert list(labels.classes) == ["style", "animal"]
    assert labels.notes == (f"{lists} has no lists of artist and genre",)
    command = ["--images", str(paintings / "images"), "--labels", str(lists), "--out", str(out)]
    assert pack(command) == 0
    index = read_index(out)
    assert index.table["split_animal"].to_pylist() == index.table["split_combined"].to_pylist()
    assert set(index.table["split_style"].to_pylist()) == {"train", "val", "test"}
    assert pack([*command, "--protocol", "study"]) == 2
    assert "study has artist, style, genre, and the lists style, animal; leave it out" in capsys.readouterr().err
    (lists / "style_val.csv").unlink()
    with pytest.raises(UserError, match="has no file named style_val"):
        read_labels(lists)


def test_a_painting_with_two_classes_of_one_task_is_unlabelled_only_in_that_task(tmp_path):
    write_lists(tmp_path / "lists", "zip")
    labels = read_labels(tmp_path / "lists")
    assert labels.ambiguous == ["Cubism/a_one.jpg: two classes of style"]
    assert [labels.paintings["Cubism/a_one.jpg"].label(task) for task in TASKS] == [1, UNLABELLED, 0]
    assert labels.paintings["Cubism/a_one.jpg"].listed == {"artist": "train", "genre": "train"}


def test_a_class_of_minus_one_means_unlabelled(paintings, tmp_path):
    shutil.copytree(paintings / "labels", tmp_path / "labels")
    before = read_labels(tmp_path / "labels").paintings
    file = tmp_path / "labels" / "Style" / "style_train.csv"
    first, *others = file.read_text().splitlines()
    path = first.rpartition(",")[0]
    file.write_text("\n".join([f"{path},-1", *others]))
    after = read_labels(tmp_path / "labels").paintings
    assert after[path].label("style") == UNLABELLED != before[path].label("style")
    assert after[path].label("genre") == before[path].label("genre")


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("Style/style_train.csv", "a/b.jpg,99\r\n", "style_train.csv:1"),
        ("Style/style_train.csv", "a/b.jpg,-2\r\n", "style_train.csv:1"),
        ("Style/style_train.csv", "a/b.jpg,1\r\nnonsense\r\n", "style_train.csv:2"),
        ("Style/style_train.csv", 'a/b.jpg,1\n"a/c".jpg,1\n', "style_train.csv:2"),
        ("Style/style_class.txt", "0 A\n2 B\n", "style_class.txt:2"),
        ("Style/style_class.txt", "", "is empty"),
    ],
)
def test_a_broken_list_is_named_with_its_line(paintings, tmp_path, capsys, file, text, said):
    shutil.copytree(paintings / "labels", tmp_path / "labels")
    (tmp_path / "labels" / file).write_bytes(text.encode())
    images, labels, out = paintings / "images", tmp_path / "labels", tmp_path / "out"
    assert pack(["--images", str(images), "--labels", str(labels), "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not out.exists()


@needs_wikiart
def test_the_published_label_lists_are_read_unchanged():
    labels = read_labels(WIKIART / "labels")
    assert {task: len(names) for task, names in labels.classes.items()} == {
        "artist": 23,
        "style": 27,
        "genre": 10,
    }
    assert len(labels.paintings) == 81_446
    assert labels.ambiguous == ["Post_Impressionism/maurice-de-vlaminck_the-village.jpg: two classes of genre"]
    in_all = [painting for painting in labels.paintings.values() if len(painting.labels) == 3]
    assert len(in_all) == 16_250
    assert sum(set(painting.listed.values()) == {"train"} for painting in in_all) == 11_276
