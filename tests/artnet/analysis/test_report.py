"""The report: figures match hand-computed ones, no run is missing, and no input is trusted."""

import csv
import io
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from artnet import report
from artnet.analysis.results import read_sweep
from artnet.analysis.table import results_csv
from artnet.config import RunConfig, build, unflatten
from artnet.result import Result, Scores, TaskResult
from artnet.rundir import RunDir, RunState, read_json, write_json

PLAIN = {"model.attention": "none"}
SE = {"model.attention": "se"}


def plan(values: Mapping[str, Any]) -> RunConfig:
    return build(unflatten({"task": "style", "model.backbone": "resnet50", "model.recurrence": "lstm", **values}))


def result_of(config: RunConfig, top1: float, n: int = 1000) -> Result:
    test = Scores(top1=top1, top5=0.9, macro_f1=0.5, nll=1.5, ece=0.1, recall=[0.5, None], n=n)
    task = TaskResult(classes=27, majority=0.125, val=test.model_copy(update={"top1": 0.7}), test=test)
    return Result(
        signature=config.signature, data="d0", best_epoch=7, epochs=9, steps=90, parameters=25_000_000,
        seconds=120, tasks=dict.fromkeys(config.task, task),
    )  # fmt: skip


def write_manifest(folder: Path, runs: list[tuple[str, RunConfig, dict[str, Any]]], **more: Any) -> None:
    planned = [{"name": name, "signature": config.signature, "values": values} for name, config, values in runs]
    write_json(folder / "manifest.json", {"name": "demo", "grid": "g.yaml", "runs": planned, **more})


def make_sweep(folder: Path, fates: list[tuple[dict[str, Any], Any]], **more: Any) -> list[RunDir]:
    """Create a sweep from varied values and fates: a test top-1, a state.json, or None for no folder."""
    runs = []
    for values, fate in fates:
        config = plan(values)
        runs.append((config.name, config, values))
        run = RunDir(folder / config.name)
        if fate is None:
            continue
        run.write_config(config)
        if isinstance(fate, float):
            write_json(run.result_file, result_of(config, fate).model_dump(mode="json"))
            write_json(run.state_file, {"state": "complete", "reason": ""})
        else:
            write_json(run.state_file, fate)
    write_manifest(folder, runs, **more)
    return [RunDir(folder / name) for name, _, _ in runs]


def seeds(values: dict[str, Any], fates: list[Any]) -> list[tuple[dict[str, Any], Any]]:
    return [({**values, "seed": seed}, fate) for seed, fate in enumerate(fates)]


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write(folder: Path, width: int = 80) -> tuple[str, str, str]:
    """Write the report. Returns the printed text, the Markdown and the page."""
    console = Console(width=width, record=True, file=(folder / "printed").open("w"))
    report.write(folder, console)
    markdown = (folder / "results.md").read_text(encoding="utf-8")
    return console.export_text(), markdown, (folder / "report.html").read_text(encoding="utf-8")


def data_of(page: str) -> dict[str, Any]:
    """The data that a page holds."""
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    found: dict[str, Any] = json.loads(text)
    return found


def test_the_table_averages_seeds_and_shows_the_published_figure(tmp_path: Path) -> None:
    reference = [
        {"when": {"model.attention": "se", "optim.lr": "1e-1"}, "style": 64.3},
        {"when": {"model.attention": "cbam"}, "style": 60},
    ]
    fates = seeds(PLAIN, [0.60, 0.62, 0.64]) + seeds(SE, [0.651, 0.652])
    make_sweep(tmp_path, fates, arithmetic="5 runs", reference=reference)
    printed, markdown, page = write(tmp_path)
    assert "| model | style | n | published |" in markdown
    assert "| ResNet50-LSTM | 62.00 ± 2.00 | 3 | - |" in markdown
    assert "| ResNet50-LSTM + SE | 65.15 ± 0.07 | 2 | 64.3 |" in markdown
    assert "| majority class | 12.50 |  |  |" in markdown
    assert "No run of this sweep matches the published result with model.attention=cbam." in markdown
    assert printed.splitlines()[-1] == f"report page: {tmp_path / 'report.html'}"
    data = data_of(page)
    rows = {row[0]: row[1:] for row in data["answer"]["table"]["rows"]}
    assert rows["ResNet50-LSTM"][0] == "62.00 ± 2.00"
    assert rows["ResNet50-LSTM + SE"][-1] == "64.3"
    assert any("5 runs" in line for _, lines in data["about"] for line in lines)
    narrow = write(tmp_path, width=30)[0]
    assert "62.00 ± 2.00" in narrow
    assert narrow.splitlines()[-1] == f"report page: {tmp_path / 'report.html'}"


def test_runs_without_a_result_are_listed_with_state_and_reason(tmp_path: Path) -> None:
    failed = {"state": "out_of_memory", "reason": "lower train.batch_size"}
    broken = {"state": "complete", "reason": ""}
    fates = seeds(PLAIN, [0.60, 0.62, {"state": "running", "reason": "epoch 3"}]) + seeds(SE, [failed, None, broken])
    runs = make_sweep(tmp_path, fates)
    runs[5].result_file.write_text('{"signature": "', encoding="utf-8")
    printed, markdown, page = write(tmp_path, width=20)
    expected = {
        runs[2].name: ("running", "epoch 3"),
        runs[3].name: ("out_of_memory", "lower train.batch_size"),
        runs[4].name: ("missing", "not started"),
        runs[5].name: ("failed", "result.json is not valid, or of another run"),
    }
    rows = {row["run"]: row for row in rows_of(tmp_path)}
    assert len(rows) == 6
    shown = {run["name"]: run for run in data_of(page)["runs"]}
    for name, (state, reason) in expected.items():
        assert (rows[name]["state"], rows[name]["reason"], rows[name]["test_top1"]) == (state, reason, "")
        assert f"| {name} | {state.replace('_', ' ')} | {reason} |" in markdown
        assert name in printed
        assert (shown[name]["state"], shown[name]["reason"]) == (state.replace("_", " "), reason)
    assert "| ResNet50-LSTM | 61.00 ± 1.41 | 2 of 3 |" in markdown
    assert "| ResNet50-LSTM + SE | - | 0 of 3 |" in markdown
    assert "4 have no result: 1 running, 1 out of memory, 1 missing, 1 failed" in markdown
    assert (shown[runs[3].name]["folder"], shown[runs[4].name]["folder"]) == (f"./{runs[3].name}/", "")


def test_csv_traces_every_score_to_its_run(tmp_path: Path) -> None:
    runs = make_sweep(tmp_path, seeds({"task": ["artist", "style"]}, [0.5]))
    write(tmp_path)
    row = {
        "run": runs[0].name, "state": "complete", "reason": "", "seed": "0", "task": "style",
        "test_top1": "0.5", "test_top5": "0.9", "test_macro_f1": "0.5", "test_nll": "1.5", "test_ece": "0.1",
        "test_n": "1000", "test_correct": "",
        "val_top1": "0.7", "val_top5": "0.9", "val_macro_f1": "0.5", "val_nll": "1.5", "val_ece": "0.1",
        "val_n": "1000", "val_correct": "",
        "best_epoch": "7", "parameters": "25000000", "seconds": "120.0",
    }  # fmt: skip
    assert rows_of(tmp_path) == [{**row, "task": "artist"}, row]


def test_no_text_in_the_csv_is_a_formula(tmp_path: Path) -> None:
    runs = make_sweep(tmp_path, seeds(SE, [0.5, 0.6]))
    runs[1].result_file.unlink()
    for start in "=+-@":
        RunState(state="failed", reason=f"{start}cmd|' /C calc'!A0").write(runs[1].state_file)
        write(tmp_path)
        assert rows_of(tmp_path)[1]["reason"] == f"'{start}cmd|' /C calc'!A0"


def test_no_key_or_value_of_a_manifest_is_a_formula(tmp_path: Path) -> None:
    config, keys = plan(SE), ("=x", "+x", "-x", "@x", "\tx", "a\r=x")
    write_manifest(tmp_path, [(config.name, config, {key: key for key in keys})])
    for row in list(csv.reader(io.StringIO(results_csv(read_sweep(tmp_path)), newline="")))[:2]:
        assert [cell for cell in row if cell.endswith("x")] == ["'=x", "'+x", "'-x", "'@x", "'\tx", "a?=x"]


def test_a_result_with_another_signature_is_ignored(tmp_path: Path) -> None:
    runs = make_sweep(tmp_path, seeds(SE, [0.9]))
    other = result_of(plan(PLAIN), 0.9)
    write_json(runs[0].result_file, other.model_dump(mode="json"))
    _, markdown, _ = write(tmp_path)
    assert "90.00" not in markdown
    assert "style: No run is complete yet." in markdown


def test_a_single_seed_has_wilsons_interval_and_a_note(tmp_path: Path) -> None:
    make_sweep(tmp_path, seeds(PLAIN, [0.8]))
    _, markdown, page = write(tmp_path)
    assert "| ResNet50-LSTM | 80.00 (77.41 to 82.36) | 1 |" in markdown  # Wilson, 800 of 1000
    assert "the brackets contain Wilson's 95 % interval" in markdown
    assert "80.00 (77.41 to 82.36)" in data_of(page)["answer"]["table"]["rows"][0]


@pytest.mark.parametrize(
    ("rivals", "said"),
    [
        (
            [0.60, 0.62, 0.64],
            "ResNet50-LSTM + SE is 4.0 points above ResNet50-LSTM (95 % 0.4 to 7.6, Student's t, 3 seeds).",
        ),
        ([0.64, 0.66, 0.67], " is 0.3 points above ResNet50-LSTM, which may be chance (95 % "),
        ([0.65, 0.66, 0.67], "The nearest: ResNet50-LSTM + SE and ResNet50-LSTM have the same mean (95 % "),
        ([0.30], "36.0 points above ResNet50-LSTM (no interval over trainings, 1 and 3 seeds)."),
    ],
)
def test_the_terminal_and_the_markdown_answer_as_the_page_does(tmp_path: Path, rivals: list[float], said: str) -> None:
    make_sweep(tmp_path, seeds(PLAIN, rivals) + seeds(SE, [0.65, 0.66, 0.67]))
    printed, markdown, page = write(tmp_path, width=300)
    answer = data_of(page)["answer"]["sentences"]["style"]
    assert said in answer
    assert f"\nstyle: {answer}\n" in printed
    assert f"\n- style: {answer}\n" in markdown
    assert "no predictions.parquet; `python -m artnet.evaluate" in printed


def test_two_seeds_are_too_few_for_an_interval(tmp_path: Path) -> None:
    make_sweep(tmp_path, seeds(PLAIN, [0.0, 0.5]))
    printed, markdown, page = write(tmp_path, width=200)
    said = "style: ResNet50-LSTM has 25.00 % test top-1; no other model has a result."
    for text in (printed, markdown):
        assert said in text
        assert "25.00 ± 35.36" in text
        assert "0.00 to" not in text
    assert data_of(page)["answer"]["table"]["rows"][0][1:3] == ["25.00 ± 35.36", "baseline"]


@pytest.mark.parametrize(
    ("plain", "se", "said"),
    [
        ([0.10, 0.11, 0.125], [0.12], "No model is better than always saying Pop Art (12.50 %)."),
        ([0.10, 0.11, 0.125], [0.13], "No model is certainly better than always saying Pop Art (12.50 %)."),
        ([0.10, 0.11, 0.20], [0.12], "No model is certainly better than always saying Pop Art (12.50 %)."),
        ([0.10, 0.11, 0.125], [0.20, 0.21], ""),  # two seeds have no interval
        ([0.10, 0.11, 0.125], [0.20, 0.21, 0.22], ""),
        ([0.10, 0.11, None], [None], "No model is better than always saying Pop Art (12.50 %)."),
        ([None], [None], ""),
    ],
)
def test_it_is_said_where_no_model_is_better_than_the_most_common_class(
    tmp_path: Path, plain: list[Any], se: list[Any], said: str
) -> None:
    folders = make_sweep(tmp_path, seeds(PLAIN, plain) + seeds(SE, se))
    for name in ("Pop Art", ""):  # earlier versions wrote no name
        for folder in folders:
            if content := read_json(folder.result_file):
                content["tasks"]["style"]["majority_class"] = name
                write_json(folder.result_file, content)
        printed, markdown, page = write(tmp_path, width=300)
        sentence = said.replace("Pop Art", name or "the most frequent class")
        answer = data_of(page)["answer"]["sentences"].get("style", "")
        for text in (answer, printed, markdown):
            assert sentence in text if said else "always saying" not in text


def test_runs_are_grouped_by_model(tmp_path: Path) -> None:
    fates = [({"optim.lr": lr, "task": task}, 0.5) for lr in (0.1, "2e-1") for task in ("style", ["artist", "style"])]
    make_sweep(tmp_path, fates)
    _, markdown, _ = write(tmp_path)
    half = "50.00 (46.91 to 53.09)"
    assert f"| ResNet50-LSTM (optim.lr=0.1) | - | - | {half} | 1 |" in markdown
    assert f"| ResNet50-LSTM (optim.lr=0.2, artist + style together) | {half} | 1 | {half} | 1 |" in markdown


def test_the_page_escapes_its_content_and_is_self_contained(tmp_path: Path) -> None:
    name, reason = '<script>"&|`', "</td><img src=x onerror=alert(1)> | \x1b[31m\ud800 [bold]"
    config, values = plan(SE), {**SE, "optim.lr": "$\\frac<b>"}
    run = RunDir(tmp_path / name)
    run.write_config(config)
    write_json(run.run_file, {"git": {"sha": "<iframe>"}, "versions": {"<b>": "1"}, "attempts": [{"host": "<u>"}]})
    run.state_file.write_text(json.dumps({"state": "<i>", "reason": reason}), encoding="utf-8")
    run.metrics_file.write_text('{"kind": "epoch", "epoch": 1, "train/loss": 2}', encoding="utf-8")
    more = {"name": "<script>x</script>", "grid": "<script>", "reference": [{"when": {}, "style": 60}]}
    write_manifest(tmp_path, [(name, config, values)], **more)
    printed, markdown, page = write(tmp_path)
    markup = re.sub(r"<(script|style)>.*?</\1>", "", page, flags=re.DOTALL)
    tags = set(re.findall(r"<([a-z]\w*)", markup))
    assert not tags & {"iframe", "b", "i", "u", "object", "embed", "base", "img"}
    assert "<script>x" not in page
    ((shown,), data) = data_of(page)["runs"], data_of(page)
    assert (shown["name"], shown["folder"]) == (name, "./%3Cscript%3E%22%26%7C%60/")
    assert data["name"] == "<script>x</script>"
    assert "[bold]" in printed
    assert "\x1b" not in printed + markdown + page
    assert not re.search(r"(?<!\\)[<`\[]", markdown)


def test_broken_files_of_a_run_never_stop_the_report(tmp_path: Path) -> None:
    runs = make_sweep(tmp_path, seeds(PLAIN, [0.6, {"state": 5}, {"state": "running"}]))
    epochs = ["1, 2", "NaN", "{}", "null", '{"kind": "epoch"}', '{"kind": "epoch", "epoch": []}']
    epochs += [
        f'{{"kind": "epoch", "epoch": {n}, "train/loss": {loss}}}' for n in (1, 1e300) for loss in ("1e999", '"x"', 2)
    ]
    runs[0].metrics_file.write_text("\n".join(epochs), encoding="utf-8")
    runs[0].run_file.write_text(
        '{"git": 5, "versions": [], "data": "x", "attempts": [3, {"host": {}}]}', encoding="utf-8"
    )
    runs[0].config_file.write_text("task: [", encoding="utf-8")
    runs[1].state_file.write_text("[]", encoding="utf-8")
    runs[2].run_file.write_bytes(b"\xff")
    _, markdown, page = write(tmp_path)
    assert "| ResNet50-LSTM | 60.00 (56.93 to 62.99) | 1 of 3 |" in markdown
    assert "not started" in markdown
    assert [(curve["x"], curve["y"]) for curve in data_of(page)["curves"]] == [([1], [2])]


def test_the_page_holds_the_curves_of_every_run(tmp_path: Path) -> None:
    runs = make_sweep(tmp_path, seeds(PLAIN, [0.6, 0.7]))
    for run in runs:
        lines = [{"kind": "epoch", "epoch": n, "train/loss": 4 / n, "val/style/top1": n / 5} for n in (1, 2, 3)]
        run.metrics_file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    curves = data_of(write(tmp_path)[2])["curves"]
    assert {curve["metric"] for curve in curves} == {"val/style/top1", "train/loss"}
    assert [curve["y"] for curve in curves if curve["metric"] == "val/style/top1"] == [[20, 40, 60]] * 2
    assert [curve["y"] for curve in curves if curve["metric"] == "train/loss"] == [[4, 2, 1.333]] * 2


OUTSIDE = '{"name": "x", "runs": [{"name": "../y", "signature": "", "values": {}}]}'


@pytest.mark.parametrize(
    "text", [None, "{", '{"name": "x", "runs": []}', OUTSIDE, OUTSIDE.replace("../y", r"\u001b[2J")]
)
def test_wrong_input_is_one_sentence(tmp_path: Path, text: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = tmp_path / "sweep"
    if text is not None:
        sweep.mkdir()
        (sweep / "manifest.json").write_text(text, encoding="utf-8")
    assert report.main([str(sweep)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"error: {sweep / 'manifest.json'} ")
    assert captured.err.count("\n") == 1
    assert not (sweep / "report.html").exists()


def test_the_command_starts_without_torch() -> None:
    code = "import sys, artnet.report, artnet.analysis.page; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
