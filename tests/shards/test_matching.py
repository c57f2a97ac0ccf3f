"""shards/matching: images are found at another level than the listed paths, or an error shows one beside the other."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from shards.errors import UserError
from shards.index import read_index
from shards.labels import Labels, Painting
from shards.matching import at_any_level, match_images
from shards.pack import main, pack
from shards.pictures import find_images

LISTED = ["Cubism/a.jpg", "Cubism/b, c.jpg", "Rococo/a.jpg", "Rococo/é.jpg"]
PREFIXED = [f"wikiart/{path}" for path in LISTED]


@pytest.mark.parametrize(
    ("files", "listed", "folder", "matched"),
    [
        (PREFIXED, LISTED, "data", dict(zip(PREFIXED, LISTED, strict=True))),
        ([f"a/b/{path}" for path in LISTED], LISTED, "", {f"a/b/{path}": path for path in LISTED}),
        (LISTED, PREFIXED, "elsewhere", dict(zip(LISTED, PREFIXED, strict=True))),
        (LISTED, [f"C:/Users/me/x/{path}" for path in LISTED], "", {p: f"C:/Users/me/x/{p}" for p in LISTED}),
        (["a.png", "é.PNG"], LISTED, "Rococo", {"a.png": "Rococo/a.jpg", "é.PNG": "Rococo/é.jpg"}),
        (["b, c.tif", "é.tif"], LISTED, "flat", {"b, c.tif": "Cubism/b, c.jpg", "é.tif": "Rococo/é.jpg"}),
        # One that lies elsewhere is not taken where the others are at the listed level.
        ([*LISTED[1:], "thumbnails/Cubism/a.jpg"], LISTED, "", {path: path for path in LISTED[1:]}),
        (["x/a.jpg", "y/a.jpg"], ["a.jpg", "z.jpg"], "", {}),
        (["Cubism/z.jpg"], LISTED, "wikiart", {}),
    ],
)
def test_images_are_matched_at_the_level_at_which_the_most_are_named(files, listed, folder, matched):
    assert at_any_level(files, listed, folder)[0] == matched


def test_at_a_level_where_two_paths_become_one_neither_is_chosen():
    matched, ambiguous = at_any_level(["a.jpg", "é.jpg"], LISTED, "flat")
    assert matched == {"é.jpg": "Rococo/é.jpg"}
    assert ambiguous == {"a.jpg": ["Cubism/a.jpg", "Rococo/a.jpg"]}


@pytest.fixture
def cubism(tmp_path: Path) -> tuple[Path, Labels]:
    """A folder of one image, and labels of another."""
    (tmp_path / "images/Cubism").mkdir(parents=True)
    Image.new("RGB", (40, 40)).save(tmp_path / "images/Cubism/a.jpg")
    paths = ["Rococo/b.jpg", "Cubism/other.jpg"]
    paintings = {path: Painting(path, {"style": 0}) for path in paths}
    return tmp_path / "images", Labels({"style": ["x", "y"]}, paintings, [], "", "the lists of LABELS")


def test_where_nothing_matches_the_error_shows_an_image_beside_a_listed_path(cubism):
    with pytest.raises(UserError) as refused:
        match_images(*cubism)
    said = "named in the lists of LABELS: an image is 'Cubism/a.jpg', and a listed path 'Cubism/other.jpg'; check"
    assert said in str(refused.value)


def test_a_folder_without_images_is_named_with_what_lies_in_it(cubism):
    images, labels = cubism
    (images / "Cubism/a.jpg").rename(images / "Cubism/a.heic")
    with pytest.raises(UserError, match=r"has no images .*, only 1 \.heic; give the right folder"):
        match_images(images, labels)


def test_files_of_any_other_suffix_are_taken_if_they_are_named_and_else_counted(cubism):
    images, labels = cubism
    for name in ("b.gif", "b.txt", "c", "d.scan", ".hidden.jpg"):
        shutil.copy(images / "Cubism/a.jpg", images / "Cubism" / name)
    paths = ["Cubism/a.png", "Cubism/d.scan", "Cubism/b"]
    found = match_images(images, dataclasses.replace(labels, paintings={path: Painting(path) for path in paths}))
    assert found.paths == {"Cubism/a.jpg": paths[0], "Cubism/d.scan": paths[1], "Cubism/b.gif": paths[2]}
    assert found.not_taken == {".txt": 1, "no suffix": 1}
    assert not found.unlabelled


def test_links_to_folders_are_followed_and_loops_are_not(tmp_path):
    (tmp_path / "elsewhere/x").mkdir(parents=True)
    Image.new("RGB", (40, 40)).save(tmp_path / "elsewhere/x/a.png")
    (tmp_path / "images").mkdir()
    (tmp_path / "images/Cubism").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/up").symlink_to(tmp_path / "images")
    assert find_images(tmp_path / "images") == ["Cubism/x/a.png"]


LISTS = {"prefix": "wikiart/{path},{label}\n", "Windows": "{path},{label}\r\n", "pandas": "{row},{path},{label}\n"}


@pytest.mark.slow
@pytest.mark.parametrize("form", LISTS)
def test_lists_that_were_saved_again_are_read_and_matched(paintings, in_process, tmp_path, capsys, form):
    shutil.copytree(paintings / "labels", tmp_path / "labels")
    for file in (tmp_path / "labels").rglob("*_*"):
        if "class" not in file.name:
            rows = [line.rpartition(",") for line in file.read_text().splitlines() if ".jpg" in line]
            named = [(path.rstrip(","), label) for path, _, label in rows]
            if form == "Windows":
                named = [(path.replace("/", "\\"), label) for path, label in named]
            header = {"pandas": ",path,0\n"}.get(form, "")
            lines = [LISTS[form].format(row=row, path=path, label=label) for row, (path, label) in enumerate(named)]
            file.write_text(header + "".join(lines))
    images, out = paintings / "images", tmp_path / "out"
    assert main(["--images", str(images), "--labels", str(tmp_path / "labels"), "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert "200 paintings in 1 shards" in said.out
    assert ("is taken for the listed wikiart/" in said.err) == (form == "prefix")
    pack(images, paintings / "labels", tmp_path / "plain")
    columns = ["style", "artist", "genre", "sha256"]
    expected = sorted(map(str, read_index(tmp_path / "plain").table.select(columns).to_pylist()))
    assert sorted(map(str, read_index(out).table.select(columns).to_pylist())) == expected


def test_what_is_odd_about_packed_paintings_is_in_the_report(paintings, in_process, tmp_path, capsys):
    images, out = tmp_path / "images", tmp_path / "out"
    shutil.copytree(paintings / "images", images)
    dot, rule, blank, grey, *_ = names = find_images(images)
    for name, size, colour in ((dot, (1, 1), "red"), (rule, (40, 900), "red"), (blank, (90, 90), "white")):
        Image.new("RGB", size, colour).save(images / name)
    noise = Image.effect_noise((90, 90), 40)  # its low frequencies have no contrast, but it is not blank
    noise.save(images / grey)
    for name in ("notes.txt", "a.xcf", "b.xcf"):
        (images / name).touch()
    assert main(["--images", str(images), "--labels", str(paintings / "labels"), "--out", str(out)]) == 0
    report = json.loads((out / "report.json").read_bytes())
    expected = {
        dot: "only 1 x 1 pixels",
        rule: "40 x 900 pixels, 22 times as long as wide",
        blank: "blank, or nearly",
    }
    assert report["odd"] == expected
    assert report["not_taken"] == {".xcf": 2, ".txt": 1}
    assert report["packed"] == len(names)
    said = capsys.readouterr().out
    assert "3 paintings of odd size, or blank; see" in said
    assert "3 other files, not taken (2 .xcf, 1 .txt); see" in said
