"""`python -m artnet.predict`: what complete runs say of any pictures."""

import csv
import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from artnet import models, predict
from artnet.config import unflatten
from artnet.inference import ensemble, grad_cam
from artnet.inference.answers import Answer, Answered, answer
from artnet.inference.gallery import gallery
from artnet.inference.trained import TrainedRun
from artnet.rundir import RunDir
from shards.index import read_index
from shards.reader import Reader
from tests.artnet import runs
from tests.conftest import TINY


@pytest.fixture(scope="module")
def trained(shards, tmp_path_factory):
    """Two runs of two tasks, with the small network, in which flip, adjustment and temperature matter."""
    folder = tmp_path_factory.mktemp("trained")
    values = {**TINY, "task": ["artist", "style"], "data.shards": str(shards), "eval.logit_adjustment": 1.0}
    values |= {"train.epochs": 3, "optim.lr": 0.5}
    found = []
    for seed in (0, 1):
        file = folder / f"{seed}.yaml"
        file.write_text(yaml.safe_dump(unflatten({**values, "seed": seed})))
        ended = runs.train(file, folder / f"run{seed}")
        assert ended.returncode == 0, ended.stderr
        found.append(folder / f"run{seed}")
    return found


@pytest.fixture(autouse=True)
def small(monkeypatch, one_thread):
    monkeypatch.setattr(models, "build_model", runs.build_small)


@pytest.fixture(scope="module")
def test_split(shards, tmp_path_factory):
    """The pictures of the test split, as files named by their keys."""
    folder = tmp_path_factory.mktemp("pictures")
    index = read_index(shards)
    reader = Reader(index)
    rows, _ = index.select("test", ("artist", "style"))
    for row in rows.tolist():
        (folder / f"{index.table['key'][row]}.jpg").write_bytes(reader[row])
    return folder


def predicted(*arguments: object) -> list[dict]:
    """The JSON lines of a command that succeeds."""
    file = Path(str(arguments[-1])).parent / "answers.jsonl"
    assert predict.main([*map(str, arguments), "--jsonl", str(file)]) == 0
    return [json.loads(line) for line in file.read_text().splitlines()]


def correct(run: Path, answers: list[dict], task: str) -> int:
    held = RunDir(run)
    stored = TrainedRun(held, torch.device("cpu")).predictions
    of = stored.splits["test"][task]
    first = {Path(one["file"]).stem: one["answers"][task]["classes"][0] for one in answers}
    names = stored.origin.classes[task]
    return sum(first[key] == names[label] for key, label in zip(of.keys.tolist(), of.labels.tolist(), strict=True))


def test_the_test_split_gives_the_results_top1_and_stored_probabilities_exactly(trained, test_split):
    answers = predicted(trained[0], test_split)
    result = RunDir(trained[0]).result()
    stored = TrainedRun(RunDir(trained[0]), torch.device("cpu")).predictions
    for task in ("artist", "style"):
        assert correct(trained[0], answers, task) == result.tasks[task].test.correct
        of = stored.splits["test"][task]
        own = of.probabilities(stored.origin.temperatures[task]).max(1)
        first = {Path(one["file"]).stem: one["answers"][task]["probabilities"][0] for one in answers}
        assert np.allclose([first[key] for key in of.keys.tolist()], own, atol=2e-3)


@pytest.mark.parametrize("forgotten", ["flip", "logit_adjustment", "temperature"])
def test_that_test_would_notice_what_is_forgotten(trained, test_split, monkeypatch, forgotten):
    before = predicted(trained[0], test_split)
    member = ensemble.Member.__init__

    def without(self, run, ranks):
        member(self, run, ranks)
        if forgotten == "temperature":
            self.origin = self.origin.model_copy(update={"temperatures": dict.fromkeys(self.origin.temperatures, 1.0)})
        else:
            changed = run.config.eval.model_copy(update={forgotten: False if forgotten == "flip" else 0.0})
            run.config = run.config.model_copy(update={"eval": changed})

    monkeypatch.setattr(ensemble.Member, "__init__", without)
    after = predicted(trained[0], test_split)
    pairs = [[one["answers"]["style"]["probabilities"][0] for one in answers] for answers in (before, after)]
    assert not np.allclose(*pairs, atol=2e-3)


def test_a_run_of_an_earlier_version_gets_its_predictions(trained, shards, test_split, tmp_path, capsys):
    old = tmp_path / "old"
    shutil.copytree(trained[0], old)
    (old / "predictions.parquet").unlink()
    picture = next(iter(sorted(test_split.iterdir())))
    now = predicted(old, shutil.copy(picture, tmp_path))
    assert now[0]["answers"] == predicted(trained[0], tmp_path / picture.name)[0]["answers"]
    assert (old / "predictions.parquet").exists()
    (old / "predictions.parquet").unlink()
    text = (old / "config.yaml").read_text()
    assert str(shards) in text
    (old / "config.yaml").write_text(text.replace(str(shards), str(tmp_path / "gone")))
    capsys.readouterr()
    assert predict.main([str(old), str(picture)]) == 2
    said = capsys.readouterr().err
    assert f"artnet.evaluate {old} --shards" in said
    assert said.count("error: ") == 1


def test_several_runs_answer_with_their_mean_and_say_how_far_they_agree(trained, test_split):
    both, *alone = (predicted(*chosen, test_split) for chosen in (trained, trained[:1], trained[1:]))
    agreed = set()
    for one, *others in zip(both, *alone, strict=True):
        said = one["answers"]["style"]
        first = [dict(zip(o["answers"]["style"]["classes"], o["answers"]["style"]["probabilities"], strict=True))
                 for o in others]  # fmt: skip
        name = said["classes"][0]
        if all(name in of for of in first):
            assert said["probabilities"][0] == pytest.approx(np.mean([of[name] for of in first]))
            assert [said["lowest"], said["highest"]] == sorted(of[name] for of in first)
        assert said["agreeing"] == sum(o["answers"]["style"]["classes"][0] == name for o in others)
        agreed.add(said["agreeing"])
    assert both[0]["answers"]["style"]["runs"] == 2
    assert len(agreed) > 1


def test_of_equal_probabilities_the_first_class_is_the_answer():
    said = answer(np.array([[0.2, 0.4, 0.4], [0.6, 0.2, 0.2]]), ["a", "b", "c"])
    assert said == Answer(["a", "b", "c"], pytest.approx([0.4, 0.3, 0.3]), 2, 1, 0.2, 0.6)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["PICTURE"], "is no run: it holds no config.yaml"),
        (["RUN"], "give the pictures too"),
        (["HALF", "PICTURE"], "is not complete (result.json is missing)"),
        (["NEWER", "PICTURE"], "was made by a newer artnet"),
        (["RUN", "EMPTY"], "holds no picture"),
        (["RUN", "OTHER", "PICTURE"], "know other classes of style ("),
        (["RUN", "PICTURE", "--explain", "OUT"], "pip install captum"),
    ],
)
def test_wrong_input_is_one_sentence(trained, test_split, tmp_path, capsys, monkeypatch, given, said):
    names = {"RUN": trained[0], "PICTURE": next(test_split.iterdir()), "OUT": tmp_path / "out"}
    for name in ("HALF", "NEWER", "OTHER", "EMPTY"):
        names[name] = tmp_path / name
        (tmp_path / name).mkdir() if name == "EMPTY" else shutil.copytree(trained[1], tmp_path / name)
    (tmp_path / "HALF" / "result.json").unlink()
    result = json.loads((tmp_path / "NEWER" / "result.json").read_text())
    (tmp_path / "NEWER" / "result.json").write_text(json.dumps({**result, "format": 99}))
    member = ensemble.Member.__init__

    def renamed(self, run, ranks):
        member(self, run, ranks)
        if run.run.name == "OTHER":
            self.origin = self.origin.model_copy(deep=True)
            self.origin.classes["style"][1] = "Fauvism"

    monkeypatch.setattr(ensemble.Member, "__init__", renamed)
    monkeypatch.setattr(grad_cam, "find_spec", lambda name: None)
    capsys.readouterr()
    assert predict.main([str(names.get(word, word)) for word in given]) == 2
    err = capsys.readouterr().err
    sentences = [line for line in err.splitlines() if line.startswith("error: ")]  # beside what takes long
    assert len(sentences) == 1
    assert "Traceback" not in err
    assert said in err


def test_standard_input_is_a_picture(trained, test_split, capsys, monkeypatch):
    data = next(test_split.iterdir()).read_bytes()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert predict.main([str(trained[0]), "-", "--jsonl", "-"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["file"] == "standard input"


def hostile(folder: Path) -> tuple[set[str], set[str]]:
    """Write odd pictures, and files that are none. Returns the names of both."""
    noise = np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)
    rgb = Image.fromarray(noise)
    odd = {
        "rgb.jpg": rgb, "cmyk.jpg": rgb.convert("CMYK"), "grey.jpg": rgb.convert("L"), "pixel.png": rgb.resize((1, 1)),
        "tall.png": rgb.resize((1, 9000)), "wide.jpg": rgb.resize((9000, 2)), "bit.png": rgb.convert("1"),
        "palette.png": rgb.convert("P"), "alpha.png": rgb.convert("RGBA"), "la.png": rgb.convert("LA"),
        "sixteen.png": Image.fromarray(noise[..., 0].astype(np.uint16) * 257), "ycc.tif": rgb.convert("YCbCr"),
        "lab.tif": rgb.convert("LAB"), "a.webp": rgb, "a.bmp": rgb, "a.gif": rgb, "a.avif": rgb, "a.jp2": rgb,
        "a.ppm": rgb, "a.tga": rgb, "a.pcx": rgb, "a.sgi": rgb, "png.jpg": rgb, "new\nline.png": rgb,
        "\x1b[31mred.png": rgb, "=1+1.png": rgb, "<script>alert(1)<.png": rgb, "-dash.png": rgb, "[red]x.png": rgb,
        "\udcff.png": rgb, "x" * 250 + ".png": rgb,
    }  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, image in odd.items():
        kind = {"options": {"format": "PNG"}} if name == "png.jpg" else {}
        image.save(folder / name, **kind.get("options", {}), **({"exif": exif} if name == "rgb.jpg" else {}))
    rgb.save(folder / "animated.gif", save_all=True, append_images=[rgb, rgb])
    rgb.save(folder / "progressive.jpg", progressive=True)
    rgb.save(folder / "broken-exif.jpg", exif=b"Exif\0\0nonsense")
    rgb.save(folder / "broken-profile.png", icc_profile=b"nonsense")
    (folder / "link.jpg").symlink_to(folder / "grey.jpg")
    good = {*odd, "animated.gif", "progressive.jpg", "broken-exif.jpg", "broken-profile.png", "link.jpg"}
    jpeg, png = ((folder / name).read_bytes() for name in ("grey.jpg", "alpha.png"))
    bomb = io.BytesIO()
    Image.new("1", (17_000, 17_000)).save(bomb, "PNG")
    bad = {
        "empty.jpg": b"", "cut.jpg": jpeg[: len(jpeg) // 2], "cut.png": png[: len(png) // 2], "head.jpg": jpeg[:4],
        "text.jpg": b"hello", "svg.png": b"<svg xmlns='http://www.w3.org/2000/svg'/>", "zeros.tif": bytes(99),
        "pdf.png": b"%PDF-1.7", "ps.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "bomb.png": bomb.getvalue(),
        "bad\nname\x1b[2J.jpg": b"x", "<img src=x>.gif": b"GIF89a", "@formula.bmp": b"BM",
    }  # fmt: skip
    for name, data in bad.items():
        (folder / name).write_bytes(data)
    (folder / "folder.jpg").mkdir()
    (folder / "dangling.jpg").symlink_to(folder / "nowhere")
    (folder / "loop.jpg").symlink_to(folder / "loop.jpg")
    os.mkfifo(folder / "pipe.jpg")
    (folder / "device.jpg").symlink_to("/dev/zero")
    (folder / "huge.jpg").touch()
    os.truncate(folder / "huge.jpg", 1 << 40)
    return good, {*bad, "folder.jpg", "dangling.jpg", "loop.jpg", "pipe.jpg", "device.jpg", "huge.jpg"}


def test_of_hostile_files_the_bad_are_named_once_and_the_rest_is_answered(trained, tmp_path, capsys, in_time):
    folder = tmp_path / "hostile"
    folder.mkdir()
    good, bad = hostile(folder)
    assert len(good | bad) >= 54
    outputs = [str(tmp_path / f"o.{kind}") for kind in ("csv", "jsonl", "html")]
    options = [word for file in outputs for word in (f"--{file.rpartition('.')[2]}", file)]
    assert predict.main([str(trained[0]), str(folder), *options]) == 1
    out, err = capsys.readouterr()
    named = [line for line in err.splitlines() if line.startswith(str(folder))]
    assert len(named) == len(bad)
    assert len({line.partition(": ")[0] for line in named}) == len(bad)
    assert "Traceback" not in err
    assert "\x1b" not in out + err
    lines = [json.loads(line) for line in Path(outputs[1]).read_text().splitlines()]
    assert {Path(one["file"]).name for one in lines if "answers" in one} == good
    assert {Path(one["file"]).name for one in lines if "error" in one} == bad
    page = Path(outputs[2]).read_text()
    assert page.count("<img ") == len(good)
    assert "<script>" not in page
    with Path(outputs[0]).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * len(good) + len(bad)


def test_a_class_name_cannot_be_a_formula_nor_html():
    said = Answer(["=1+1", "<b>x"], [0.9, 0.1], 1, 1, 0.9, 0.9)
    found = [Answered(Path("=a.jpg"), {"style": said}, thumbnail=b"x")]
    row = next(csv.DictReader(io.StringIO(predict_csv(found))))
    assert (row["file"], row["class_1"], row["probability_1"]) == ("'=a.jpg", "'=1+1", "0.9")
    page = gallery(found, ["<i>run"]).decode()
    assert "<b>x" not in page
    assert "<i>run" not in page
    assert "default-src 'none'" in page


def predict_csv(found: list[Answered]) -> str:
    from artnet.inference.answer_table import as_csv

    return as_csv(found).decode()
