"""shards/labels, names: both published forms are read, and a file gets the label of its painting or none."""

import dataclasses
import itertools
import json
import shutil
import unicodedata

import pytest

from shards.errors import UserError
from shards.filenames import match_files, possible_spellings
from shards.index import read_index
from shards.labels import TASKS, UNLABELLED, find_images, read_labels
from shards.pack import main as pack
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
    """The lists above as ArtGAN's repository has them, or as its zip has, with what an editor may do to them."""
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
def test_both_published_forms_say_the_same(tmp_path, form):
    write_lists(tmp_path / "Artist", "repository")
    write_lists(tmp_path / "wikiart_csv", form)
    one, other = read_labels(tmp_path / "Artist"), read_labels(tmp_path / "wikiart_csv")
    assert dataclasses.replace(one, digest="") == dataclasses.replace(other, digest="")
    assert one.classes == CLASSES
    assert set(one.paintings) == {path for rows in ROWS.values() for path, _ in rows}
    with pytest.raises(UserError, match=r"Artist/artist_class and .*wikiart_csv/artist_class\.txt"):
        read_labels(tmp_path)


def test_two_classes_in_one_task_cost_the_painting_that_task_only(tmp_path):
    write_lists(tmp_path / "lists", "zip")
    labels = read_labels(tmp_path / "lists")
    assert labels.ambiguous == ["Cubism/a_one.jpg: two classes of style"]
    assert [labels.paintings["Cubism/a_one.jpg"].label(task) for task in TASKS] == [1, UNLABELLED, 0]
    assert labels.paintings["Cubism/a_one.jpg"].listed == {"artist": "train", "genre": "train"}


def test_a_class_of_minus_one_is_none(paintings, tmp_path):
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
def test_published_label_lists_are_read_as_they_are():
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


@needs_wikiart
def test_every_real_image_finds_its_labels_however_garbled_its_name():
    files = find_images(WIKIART / "images")
    matched, doubtful = match_files(files, read_labels(WIKIART / "labels").paintings)
    assert len(files) == len(matched) == len(set(matched.values())) == 5000
    assert sum(file != path for file, path in matched.items()) == 23
    assert not doubtful


@needs_wikiart
def test_no_two_of_the_real_names_can_be_taken_for_each_other():
    paths = read_labels(WIKIART / "labels").paintings
    found = [possible_spellings(path) for path in paths]
    assert len(set().union(*found)) == sum(map(len, found)) > len(paths)


def garbled(name, *pages):
    """The name after its UTF-8 was read as each of the code pages in turn."""
    for page in pages:
        characters = (bytes([byte]).decode(page, "ignore") or chr(byte) for byte in name.encode())
        name = "".join(characters)  # where Windows has no character, tools take the control character
    return name


TRUE = "Cubism/andré-l’hôte_été.jpg"
SMALL = garbled(TRUE, "latin-1").lower()
PAGES = ("latin-1", "cp1252", "cp437", "cp866")
SPELLINGS = {
    "small letters": (SMALL, TRUE),
    "small letters, then two zip tools": (garbled(SMALL, "cp866", "cp437"), SMALL),
    "as published": ("Cubism/joaqu\xe3\xadn-sorolla_x.jpg", "Cubism/joaquín-sorolla_x.jpg"),
    "as published, by macOS": (unicodedata.normalize("NFD", "a/bã©.jpg"), "a/bã©.jpg"),
    "NFD": (unicodedata.normalize("NFD", TRUE), TRUE),
    "NFD garbled": (garbled(unicodedata.normalize("NFD", TRUE), "cp437"), TRUE),
    "apostrophe dropped": ("Pop_Art/allan-darcangelo_x.jpg", "Pop_Art/allan-d'arcangelo_x.jpg"),
    "apostrophe curled": ("Pop_Art/allan-d’arcangelo_x.jpg", "Pop_Art/allan-d'arcangelo_x.jpg"),
    "apostrophe curled and garbled": (garbled("a/d’a.jpg", "cp1252"), "a/d'a.jpg"),
    "extension": ("Cubism/x.JPG", "Cubism/x.jpg"),
    "folder": ("Art_Nouveau/x.jpg", "Art_Nouveau_Modern/x.jpg"),
    **{page: (garbled(TRUE, page), TRUE) for page in PAGES},
    **{f"{one}, {two}": (garbled(TRUE, one, two), TRUE) for one, two in itertools.product(PAGES, PAGES)},
}


@pytest.mark.parametrize("kind", SPELLINGS)
def test_a_garbled_name_is_found_whichever_side_is_garbled(kind):
    one, other = SPELLINGS[kind]
    others = [
        "Cubism/andré-l’hôte_ete.jpg",
        "Fauvism/andré-l’hôte_été.jpg",
        "Cubism/x.png",
        "Cubism/joaqun-sorolla_x.jpg",
    ]
    assert one != other
    assert match_files([one], [*others, other]) == ({one: other}, {})
    assert match_files([other], [*others, one]) == ({other: one}, {})
    assert match_files([one], others) == ({}, {})


@pytest.mark.parametrize(
    ("files", "listed", "matched", "doubtful"),
    [
        (["a/d'arc.jpg", "a/darc.jpg"], ["a/d'arc.jpg"], ["a/d'arc.jpg"], ["a/darc.jpg"]),
        (["a/darc.jpg", "a/da'rc.jpg"], ["a/d'arc.jpg"], [], ["a/darc.jpg", "a/da'rc.jpg"]),
        (["a/d’arc.jpg"], ["a/d'arc.jpg", "a/darc.jpg"], [], ["a/d’arc.jpg"]),
        (["a/d’arc.jpg", "a/darc.jpg"], ["a/d'arc.jpg", "a/darc.jpg"], ["a/darc.jpg"], ["a/d’arc.jpg"]),
        (
            ["Art_Nouveau/x.jpg", "Art_Nouveau_Modern/x.jpg"],
            ["Art_Nouveau_Modern/X.jpg"],
            [],
            ["Art_Nouveau/x.jpg", "Art_Nouveau_Modern/x.jpg"],
        ),
        (["a/\udcff\u0301.jpg", "a/.jpg", "/", ""], ["a/é.jpg", "a/\x00.jpg"], [], []),
    ],
)
def test_in_doubt_a_file_gets_no_label_and_is_named(files, listed, matched, doubtful):
    found, doubts = match_files(files, listed)
    assert found == {file: file for file in matched}
    assert set(doubts) == set(doubtful)
    assert all(set(paths) <= set(listed) for paths in doubts.values())


def test_what_is_missing_stops_the_packing_before_it_starts_unless_allowed(paintings, tmp_path, capsys):
    images, out = tmp_path / "images", tmp_path / "out"
    shutil.copytree(paintings / "images", images)
    first, *_, last = find_images(images)
    command = ["--images", str(images), "--labels", str(paintings / "labels"), "--out", str(out)]

    def reported():
        report = json.loads((out / "report.json").read_text(encoding="utf-8"))
        return report["listed_without_image"], report["images_without_label"]

    def refused():
        assert pack(command) == 2
        missing, unlabelled = reported()
        counts = f"without an image: {len(missing)}, images without a label: {len(unlabelled)}, "
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert all(said in error for said in (counts, str(out / "report.json"), "--allow-missing"))
        assert [file.name for file in out.iterdir()] == ["report.json"]
        return missing, unlabelled

    shutil.copy(images / first, images / "other.jpg")
    (images / "._other.jpg").touch()  # macOS's, no image
    assert refused() == ([], ["other.jpg"])
    (images / first).unlink()
    (images / last).unlink()
    assert refused() == ([first, last], ["other.jpg"])
    (images / "other.jpg").unlink()
    assert refused() == ([first, last], [])
    assert pack([*command, "--allow-missing"]) == 0
    assert reported() == ([first, last], [])
    assert len(read_index(out).table) == 198
    assert pack(command) == 2
    assert json.loads((out / "report.json").read_bytes())["packed"] == 198
