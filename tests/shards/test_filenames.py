"""shards/filenames: an image file gets the label of its painting, however garbled the name, or none."""

import itertools
import unicodedata

import pytest

from shards.filenames import match_files, possible_spellings
from shards.pictures import find_images
from tests.conftest import WIKIART, needs_wikiart


@needs_wikiart
def test_every_real_image_is_matched_to_its_labels_despite_garbled_names(official):
    files = find_images(WIKIART / "images")
    matched, doubtful = match_files(files, [painting.path for painting in official])
    assert len(files) == len(matched) == len(set(matched.values())) == 5000
    assert sum(file != path for file, path in matched.items()) == 23
    assert not doubtful


@needs_wikiart
def test_no_two_of_the_real_names_share_a_spelling(official):
    found = [possible_spellings(painting.path) for painting in official]
    assert len(set().union(*found)) == sum(map(len, found)) > len(official)


def garbled(name, *pages):
    """Return the name after its UTF-8 was read as each of the code pages, one after the other."""
    for page in pages:
        characters = (bytes([byte]).decode(page, "ignore") or chr(byte) for byte in name.encode())
        name = "".join(characters)  # where Windows has no character, tools use the control character
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
    "saved again": ("Cubism/x. 1900.webp", "Cubism/x. 1900.jpg"),
    "without extension": ("Cubism/x.1901.TIF", "Cubism/x.1901"),
    "saved again, garbled": (garbled(TRUE, "cp437").replace(".jpg", ".png"), TRUE),
    "spaces": ("Pop Art/andy warhol_soup  can.jpg", "Pop_Art/andy_warhol_soup_can.jpg"),
    "folder": ("Art_Nouveau/x.jpg", "Art_Nouveau_Modern/x.jpg"),
    **{page: (garbled(TRUE, page), TRUE) for page in PAGES},
    **{f"{one}, {two}": (garbled(TRUE, one, two), TRUE) for one, two in itertools.product(PAGES, PAGES)},
}


@pytest.mark.parametrize("kind", SPELLINGS)
def test_a_garbled_name_is_matched_whichever_side_is_garbled(kind):
    one, other = SPELLINGS[kind]
    others = [
        "Cubism/andré-l’hôte_ete.jpg",
        "Fauvism/andré-l’hôte_été.jpg",
        "Cubism/x.txt",
        "Cubism/x.1900",
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
        (["a/x.jpg", "a/x.png", "a/x.gif"], ["a/x.jpg"], ["a/x.jpg"], ["a/x.png", "a/x.gif"]),
        (["a/x.tif", "a/x.png"], ["a/x.jpg"], [], ["a/x.tif", "a/x.png"]),
        (["a/x.webp"], ["a/x.jpg", "a/x.png"], [], ["a/x.webp"]),
        (["a/\udcff\u0301.jpg", "a/.jpg", "/", ""], ["a/é.jpg", "a/\x00.jpg"], [], []),
    ],
)
def test_an_ambiguous_file_gets_no_label_and_is_named(files, listed, matched, doubtful):
    found, doubts = match_files(files, listed)
    assert found == {file: file for file in matched}
    assert set(doubts) == set(doubtful)
    assert all(set(paths) <= set(listed) for paths in doubts.values())
