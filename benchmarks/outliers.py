"""How many swapped labels does `artnet.outliers` find? 5 % of the artists are swapped in pairs, then looked for.

    python benchmarks/outliers.py --out /tmp/outliers                                    # demo paintings
    python benchmarks/outliers.py --out /tmp/outliers --images IMAGES --labels LABELS    # real ones

It swaps and packs, trains a small network on the styles of all paintings and goes on from it on the artists, once for
each of 5 folds, asks `artnet.outliers` for the list, and prints average precision and recall in the first 10 %, by
scikit-learn. No network is told the artist of a painting that it is asked for. Started again, it trains only what is
missing. On two cores, the five folds of real paintings take 15 minutes, and the styles before at least as long.
"""

import argparse
import csv
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml
from sklearn.metrics import average_precision_score

from shards.labels import read_labels
from shards.pictures import find_images

ROOT = Path(__file__).resolve().parents[1]
SHARE = 0.05  # of the paintings, whose artists are swapped
FIRST = 0.1  # of the list, in which they are looked for
BARS = {"demo": 0.8, "real": 0.5}  # the share of swaps in the first part of the list
SIZES = {"demo": 36, "real": 48}  # pixels


def main() -> int:
    parser = argparse.ArgumentParser(description="How many swapped labels does artnet.outliers find?")
    parser.add_argument("--out", type=Path, required=True, help="folder for data and runs")
    parser.add_argument("--images", type=Path, help="folder of real paintings (default: demo paintings)")
    parser.add_argument("--labels", type=Path, help="their label lists")
    parser.add_argument("--seed", type=int, default=0, help="of the swaps (default: 0)")
    args = parser.parse_args()
    kind = "real" if args.images else "demo"
    folder = args.out.resolve() / kind
    images, labels = args.images, args.labels
    if not images:
        images, labels = folder / "src" / "images", folder / "src" / "labels"
        if not images.is_dir():
            python("-m", "shards.demo", "--out", folder / "src", "--paintings", 1200)
    planted = plant(images, labels, folder, args.seed)
    table = folder / "table.csv"
    python("-m", "shards.pack", "--images", images, "--table", table, "--out", folder / "shards", "--allow-missing")
    runs = folder / "runs"
    for grid in grids(kind, folder / "shards", runs):
        file = folder / f"{grid['name']}.yaml"
        file.write_text(yaml.safe_dump(grid))
        python("launch/local.py", "--grid", file, "--runs", runs)
    sweep = runs / f"{kind}-folds"
    missing = [run for run in sweep.glob("*/result.json") if not (run.parent / "predictions.parquet").exists()]
    if missing:
        python("-m", "artnet.evaluate", *(result.parent for result in missing))
    python("-m", "artnet.outliers", sweep)
    return report(kind, sweep / "outliers-artist.csv", folder / "shards", planted)


def python(*arguments: object) -> None:
    subprocess.run([sys.executable, *map(str, arguments)], cwd=ROOT, check=True, env={**os.environ, "PYTHONPATH": "."})


def plant(images: Path, labels: Path, folder: Path, seed: int) -> set[str]:
    """Write a table of the styles, and of the artists with swaps. Returns the paths of the swapped paintings."""
    lists, have = read_labels(labels), set(find_images(images))
    names: dict[str, dict[str, str]] = {"artist": {}, "style": {}}
    for path, painting in sorted(lists.paintings.items()):
        for task in names.keys() & painting.labels.keys() if path in have else ():
            names[task][path] = lists.classes[task][painting.labels[task]]
    artists, styles = names["artist"], names["style"]
    paths, swapped, planted = list(artists), dict(artists), set[str]()
    random.Random(seed).shuffle(paths)
    while len(planted) + 2 <= round(SHARE * len(artists)):
        one = paths.pop()
        other = next(path for path in reversed(paths) if artists[path] != artists[one])
        paths.remove(other)
        swapped[one], swapped[other] = artists[other], artists[one]
        planted |= {one, other}
    folder.mkdir(parents=True, exist_ok=True)
    rows = [(path, swapped.get(path, ""), styles.get(path, "")) for path in sorted(artists.keys() | styles.keys())]
    with (folder / "table.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("path", "artist", "style"), *rows])
    return planted


def grids(kind: str, shards: Path, runs: Path) -> list[dict[str, object]]:
    """A training on the styles, and the five that go on from it."""
    fixed = {
        "data.shards": str(shards), "data.size": SIZES[kind], "data.threads": 1, "model.backbone": "resnet18",
        "augment.policy": "none", "augment.crop_scale": 0.35, "optim.ema_half_life": 50, "train.batch_size": 32,
    }  # fmt: skip
    style = {"task": "style", "data.start_size": 33, "optim.lr": 0.4, "train.epochs": 10}
    artist = {"task": "artist", "data.folds": 5, "init_from": {"sweep": str(runs / f"{kind}-style")}, "optim.lr": 0.2,
              "train.epochs": 20}  # fmt: skip
    local = {"max_parallel": 2}
    return [
        {"name": f"{kind}-style", "fixed": fixed | style, "parameters": {"seed": [0]}, "local": local},
        {"name": f"{kind}-folds", "fixed": fixed | artist, "parameters": {"data.fold": list(range(5))}, "local": local},
    ]


def report(kind: str, file: Path, shards: Path, planted: set[str]) -> int:
    """Print the figures of the list beside those of raw low confidence. Returns 1 if a bar is missed."""
    from shards.index import read_index

    index = read_index(shards)
    paths = dict(zip(index.table["key"].to_pylist(), index.table["path"].to_pylist(), strict=True))
    with file.open(newline="") as opened:
        lines = list(csv.DictReader(opened))
    is_swapped = np.array([paths[line["key"]] in planted for line in lines])
    number = {name: np.array([float(line[name]) for line in lines]) for name in ("score", "given_probability")}
    first = round(FIRST * len(lines))
    is_right = np.array([line["given"] == line["predicted"] for line in lines])
    chance = is_swapped.mean()
    print(f"{kind}: {len(lines):,} paintings, {is_swapped.sum()} swapped; chance {chance:.3f}; the network agrees with "
          f"{100 * is_right[~is_swapped].mean():.1f} % of the labels that were not swapped")  # fmt: skip
    figures = {}
    for name, order in (("list", -np.arange(len(lines))), ("raw low confidence", -number["given_probability"])):
        found = is_swapped[np.argsort(-order, kind="stable")[:first]].sum() / is_swapped.sum()
        figures[name] = average_precision_score(is_swapped, order), found
        print(f"{name:20} average precision {figures[name][0]:.3f} ({figures[name][0] / chance:.1f} x chance), "
              f"{100 * found:.0f} % of the swaps in the first 10 %")  # fmt: skip
    precision, found = figures["list"]
    is_met = precision >= 3 * chance and found >= BARS[kind]
    bars = f"3 x chance, {100 * BARS[kind]:.0f} %"
    if kind == "real":
        is_met, bars = is_met and precision > figures["raw low confidence"][0], f"{bars}, above raw low confidence"
    print(f"bars {'met' if is_met else 'MISSED'}: {bars}")
    return 0 if is_met else 1


if __name__ == "__main__":
    raise SystemExit(main())
