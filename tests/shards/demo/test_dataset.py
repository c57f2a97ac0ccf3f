"""shards/demo: laid out like WikiArt, always the same bytes, with classes that can be recognized."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shards.demo import dataset as demo
from shards.demo.__main__ import main
from shards.demo.artists import ARTISTS
from shards.demo.painting import STYLES, paint
from shards.demo.scene import GENRES
from shards.labels import read_labels
from shards.tasks import TASKS

PAINTINGS = 48


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small demo data set for all tests that only read it."""
    folder = tmp_path_factory.mktemp("demo") / "wikiart"
    demo.write(folder, PAINTINGS, seed=3)
    return folder


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_lists_are_read_like_those_of_artgan_and_name_exactly_the_images(out: Path) -> None:
    labels = read_labels(out / "labels")
    assert [len(labels.classes[task]) for task in TASKS] == [len(ARTISTS), len(STYLES), len(GENRES)]
    images = {p.relative_to(out / "images").as_posix(): p for p in (out / "images").rglob("*.jpg")}
    assert set(images) == set(labels.paintings) and len(images) == PAINTINGS
    for path, image in images.items():
        assert 96 <= min(Image.open(image).size) <= 128
        painting = labels.paintings[path]
        assert len(set(painting.listed.values())) == 1, "a painting has one role in all lists"
        assert labels.classes["style"][painting.labels["style"]] == path.partition("/")[0]
        artist = labels.classes["artist"][painting.labels["artist"]] if "artist" in painting.labels else None
        named = (artist or "anonymous-school").lower().replace("_", "-")
        assert Path(path).name.startswith(f"{named}_")


def test_the_lists_are_written_in_the_form_of_artgan(out: Path) -> None:
    genres = (out / "labels/Genre/genre_train.csv").read_bytes().split(b"\r\n")
    assert genres[0].count(b",") == 1 and genres[-1] == b""
    header, blank, row = (out / "labels/Artist/artist_val").read_text(encoding="utf-8").split("\n")[:3]
    assert header.startswith("(Path to image),,") and blank == "" and row.count(",,") == 1
    assert (out / "labels/Style/style_class.txt").read_text(encoding="utf-8").startswith("0 Color_Field_Painting\n")


def test_an_interrupted_run_is_finished_with_the_same_bytes(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _contents(out)
    demo.write(tmp_path / "again", PAINTINGS, seed=3)
    assert _contents(tmp_path / "again") == whole
    for file in sorted((tmp_path / "again").rglob("*.*"))[::3]:
        if file.is_file() and file.name != "demo.json":
            file.replace(file.with_name(f".{file.name}.x0_abcde.tmp"))
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    demo.write(tmp_path / "again", PAINTINGS, seed=3)
    assert _contents(tmp_path / "again") == whole


def test_existing_files_are_not_written_again(out: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    demo.write(out, PAINTINGS, seed=3)
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*")} == before


def test_classes_are_long_tailed_and_the_rarest_still_has_twelve() -> None:
    sketches = demo.plan(1200, seed=0)
    artists = Counter(s.artist for s in sketches if s.artist)
    genres = Counter(s.genre for s in sketches if s.genre_listed)
    for counts in (artists, genres, Counter(s.style for s in sketches)):
        assert min(counts.values()) >= 12
        assert 5 <= max(counts.values()) / min(counts.values()) <= 7
    assert artists.total() == 840 and genres.total() == 960
    assert sum(s.split == "val" for s in sketches) == 360


def test_an_artist_is_recognized_by_colour_in_any_style_and_genre() -> None:
    def colour(artist: str, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        style, genre = str(rng.choice(list(STYLES))), str(rng.choice(list(GENRES)))
        pixels = np.asarray(paint(style, genre, artist, 48, rng), float).reshape(-1, 3)
        return np.concatenate([pixels.mean(axis=0), pixels.std(axis=0)])

    known = {artist: np.mean([colour(artist, seed) for seed in range(6)], axis=0) for artist in ARTISTS}
    right = 0
    for artist in ARTISTS:
        for seed in (10, 11, 12):
            found = colour(artist, seed)
            right += artist == min(known, key=lambda name: float(np.linalg.norm(known[name] - found)))
    assert right >= 12, "at least four times chance"


def test_the_contact_sheet_is_a_png_1200_pixels_wide(tmp_path: Path) -> None:
    assert main(["--contact-sheet", str(tmp_path / "sheet.png")]) == 0
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert (sheet.format, sheet.width) == ("PNG", 1200)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--out", "{out}", "--paintings", "50", "--seed", "3"], "other settings"),
        (["--out", "{out}/demo.json"], "is a file"),
        (["--out", "{out}/demo.json/below"], "choose another place"),
        (["--out", "{new}", "--paintings", "0"], "too few"),
        (["--out", "{new}", "--seed", "-1"], "negative"),
        (["--contact-sheet", "{new}", "--seed", "-1"], "negative"),
        (["--contact-sheet", "{out}"], "choose another place"),
    ],
)
def test_wrong_input_ends_in_one_sentence(
    arguments: list[str], complaint: str, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = tmp_path / "new"
    assert main([argument.format(out=out, new=new) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and complaint in error
    assert not new.exists()
