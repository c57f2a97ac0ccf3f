"""shards/table, folders: labels from a table, as spreadsheet programs and pandas write it, and from folders."""

import gzip
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shards.errors import UserError
from shards.labels import Labels, Painting
from shards.table import read_table

HEADER = ["path", "artist", "style"]
ROWS = [
    ["Cubism/a, one.jpg", "Georges Braque", "Cubism"],
    ["Rococo/éclat.jpg", "", "Rococo"],
    ["Rococo/b.jpg", "Käthe; née", "Rococo"],
    ["Cubism/c.jpg", "Georges Braque", ""],
]
CLASSES = {"artist": ["Georges Braque", "Käthe; née"], "style": ["Cubism", "Rococo"]}
LABELLED = {
    "Cubism/a, one.jpg": {"artist": 0, "style": 0},
    "Rococo/éclat.jpg": {"style": 1},
    "Rococo/b.jpg": {"artist": 1, "style": 1},
    "Cubism/c.jpg": {"artist": 0},
}


def _frame(**renamed: str) -> pd.DataFrame:
    return pd.DataFrame(ROWS, columns=HEADER).rename(columns=renamed)


def _windows(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(path=[".\\" + path.replace("/", "\\") for path in frame["path"]])


CSV = {
    "plain": lambda: _frame().to_csv(index=False).encode(),
    "Excel": lambda: _frame().to_csv(index=False, sep=";", lineterminator="\r\n").encode("utf-8-sig"),
    "Excel, Unicode text": lambda: _frame().to_csv(index=False, sep="\t", lineterminator="\r\n").encode("utf-16"),
    "Excel, ANSI": lambda: _frame().to_csv(index=False).encode("cp1252"),
    "Excel, sep": lambda: b"sep=;\r\n" + _frame().to_csv(index=False, sep=";", lineterminator="\r\n").encode(),
    "UTF-16 without a mark": lambda: _frame().to_csv(index=False).encode("utf-16-le"),
    "classic Mac": lambda: _frame().to_csv(index=False, lineterminator="\r").encode(),
    "pandas' index": lambda: _frame().to_csv().encode(),
    "all quoted": lambda: _frame().to_csv(index=False, quoting=1).encode(),
    "capitals and spaces": lambda: (
        _frame(path=" File Name", artist="Artist ", style="STYLE").to_csv(index=False).encode()
    ),
    "Windows": lambda: _windows(_frame()).to_csv(index=False).encode(),
    "trailing delimiters": lambda: _frame().assign(**{"": ""}).to_csv(index=False).encode() + b"\n,,,\n,,,\n",
    "other order and columns": lambda: (
        _frame()[["style", "path", "artist"]].assign(width=3).to_csv(index=False).encode()
    ),
    "missing as pandas": lambda: _frame().replace("", "NaN").to_csv(index=False).encode(),
    "rows twice": lambda: pd.concat([_frame(), _frame().assign(artist="")]).to_csv(index=False).encode(),
    "spaces": lambda: _frame().map(lambda cell: f"  {cell} ").to_csv(index=False).encode(),
}


@pytest.mark.parametrize("form", CSV)
def test_a_table_of_a_spreadsheet_program_or_of_pandas_is_read(tmp_path, form):
    (tmp_path / "t.csv").write_bytes(CSV[form]())
    labels = read_table(tmp_path / "t.csv")
    assert labels.classes == CLASSES
    assert {path: painting.labels for path, painting in labels.paintings.items()} == LABELLED
    assert not labels.ambiguous
    assert [note for note in labels.notes if "Windows-1252" in note] == list(labels.notes)
    assert bool(labels.notes) == (form == "Excel, ANSI")


@pytest.mark.parametrize("form", ["pandas", "categories", "path as index", "large lists"])
def test_a_table_in_parquet_is_read(tmp_path, form):
    frame = _frame().replace("", None)
    if form == "categories":
        frame = frame.astype({"artist": "category"})
    if form == "path as index":
        frame = frame.set_index("path")
    table = pa.Table.from_pandas(frame)
    if form == "large lists":
        styles = [[style] if style else [] for style in _frame()["style"]]
        table = table.set_column(2, "style", pa.array(styles, pa.large_list(pa.string())))
    pq.write_table(table.append_column("image", pa.array([b"x"] * 4)), tmp_path / "t.parquet")
    labels = read_table(tmp_path / "t.parquet")
    assert labels.classes == CLASSES
    assert {path: painting.labels for path, painting in labels.paintings.items()} == LABELLED


def _read(tmp_path: Path, text: str, *asked: str) -> Labels:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    return read_table(tmp_path / "t.csv", asked)


def test_tasks_are_the_columns_that_are_asked_for_or_the_only_one(tmp_path):
    text = "path,style,Art Movement,animal\na.jpg,x,p,cat\nb.jpg,y,q,dog\n"
    assert list(_read(tmp_path, text).classes) == ["style"]
    assert _read(tmp_path, text).notes == ("not used: 'Art Movement', 'animal'; --task names the columns to learn",)
    asked = _read(tmp_path, text, "animal", "Art Movement", "STYLE")
    assert list(asked.classes) == ["style", "animal", "art_movement"]
    assert not asked.notes
    assert _read(tmp_path, ",file,label\n0,a.jpg,cat\n1,b.jpg,dog\n").classes == {"label": ["cat", "dog"]}


def test_class_names_are_text_that_nothing_changes(tmp_path):
    names = ["yes", "no", "0123", "1e3", "none", "TRUE", "=1+1", "a: b", "NA ME", "10"]
    rows = "".join(f"{n}.jpg,{name}\n" for n, name in enumerate(names))
    assert _read(tmp_path, f"path,style\n{rows}").classes == {"style": sorted(names)}
    numbers = _read(tmp_path, "path,style\na.jpg,10.0\nb.jpg,9.0\nc.jpg,\nd.jpg,-1.0\n")
    assert numbers.classes == {"style": ["9", "10"]}
    assert not numbers.paintings["d.jpg"].labels
    accents = _read(tmp_path, "path,style\na.jpg,Naïve\nb.jpg,Nai\u0308ve\nc.jpg,two  words\n")
    assert accents.classes == {"style": ["Naïve", "two words"]}


def test_rows_that_contradict_each_other_leave_the_painting_unlabelled_and_are_named(tmp_path):
    labels = _read(tmp_path, "path,artist,style,split\na.jpg,x,p,train\n./a.jpg,y,p,test\nb.jpg,x,q,train\n")
    assert labels.ambiguous == ["a.jpg: two classes of artist", "a.jpg: two splits"]
    assert labels.paintings["a.jpg"] == Painting("a.jpg", {"style": 0})


KAGGLE = """filename,artist,genre,description,phash,width,height,genre_count,subset
Cubism/a_x.jpg,pablo picasso,['Cubism'],x-1900,bebbeb018a7d80a8,1922,1382,1,train
Cubism/b_y.jpg,pablo picasso,"['Cubism', 'Expressionism']",y,d7d0781be51fc00e,1382,1746,2,test
Expressionism/c_z.jpg,edvard munch,"[""Expressionism""]",z,9f846e5a6c639325,1382,1768,1,uncertain artist
Baroque/d.jpg,edvard munch,['Baroque'],z,9f846e5a6c639325,1382,1768,1,test
"""


def test_kaggles_wikiart_is_known_by_its_header_and_its_genre_is_the_style(tmp_path):
    labels = _read(tmp_path, KAGGLE)
    assert labels.classes["style"] == ["Baroque", "Cubism", "Expressionism"]
    assert labels.classes["artist"] == ["edvard munch", "pablo picasso"]
    assert list(labels.paintings.values()) == [
        Painting("Cubism/a_x.jpg", {"artist": 1, "style": 1}, split="train"),
        Painting("Cubism/b_y.jpg", {"artist": 1}, split="test"),
        Painting("Expressionism/c_z.jpg", {"style": 2}),
        Painting("Baroque/d.jpg", {"artist": 0, "style": 0}, split="test"),
    ]
    assert labels.ambiguous == ["Cubism/b_y.jpg: two classes of style"]
    assert list(_read(tmp_path, KAGGLE, "style").classes) == ["style"]


@pytest.mark.parametrize(
    ("text", "asked", "said"),
    [
        ("name,style\na.jpg,x\n", (), "has no column path, only 'name', 'style'; name it in the first line"),
        ("Cubism/a.jpg,3\nCubism/b.jpg,4\n", (), "has no column path, only 'Cubism/a.jpg', '3'"),
        ("path,animal,period\na.jpg,x,y\n", (), "only 'path', 'animal', 'period'; say which are the tasks: --task"),
        ("path,style\na.jpg,x\n", ("animal",), "has no column 'animal', only 'path', 'style'; change --task"),
        (
            "path,2nd look\na.jpg,x\n",
            ("2nd look",),
            "the column '2nd look' cannot be a task: the name of a task is up to",
        ),
        ("path,combined\na.jpg,x\n", ("combined",), "the column 'combined' cannot be a task"),
        ("path,style,split\na.jpg,x,train\n", ("split",), "the column 'split' cannot be a task"),
        ("path,style,Style\na.jpg,x,y\n", (), "has 2 columns style; rename or remove one"),
        ("path,style\na.jpg,x\n,y\n", (), "t.csv:3: the path is empty; give each painting its file"),
        ("path,style\n\na, b.jpg,x\n", (), "t.csv:3: 3 cells, but the header has 2; quote cells that hold"),
        ('path,style\na.jpg,"x\n', (), "t.csv:2: not CSV (unexpected end of data); fix this line or the one above"),
        ("path,style,split\na.jpg,x,fold 3\n", (), "t.csv:2: the split 'fold 3' is not train, val or test"),
        ("\n \n", (), "is empty; it must have a header such as `path,artist,style`"),
        ("PK\x03\x04", (), "is a workbook; save the sheet as CSV in UTF-8"),
        ("PAR1", (), "cannot be read as Parquet"),
        ('{"path": "a.jpg", "style": "x"}\n', (), 'has no column path, only \'{"path": "a.jpg"\''),
    ],
)
def test_a_wrong_table_is_refused_with_its_line(tmp_path, text, asked, said):
    with pytest.raises(UserError) as refused:
        _read(tmp_path, text, *asked)
    assert said in str(refused.value)
    assert str(refused.value).startswith(str(tmp_path / "t.csv"))


def test_a_compressed_table_is_refused(tmp_path):
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(CSV["plain"]()))
    with pytest.raises(UserError, match="is compressed; unpack it"):
        read_table(tmp_path / "t.csv.gz")
