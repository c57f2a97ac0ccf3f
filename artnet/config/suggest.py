"""The key that somebody means who writes one that does not exist."""

import difflib
from collections.abc import Sequence

# What the field and other tools call our keys.
ALIASES = {
    "learning_rate": "optim.lr",
    "base_lr": "optim.lr",
    "max_lr": "optim.lr",
    "wd": "optim.weight_decay",
    "decay": "optim.weight_decay",
    "optimizer": "optim.name",
    "scheduler": "optim.schedule",
    "lr_scheduler": "optim.schedule",
    "warmup_epochs": "optim.warmup",
    "warmup_steps": "optim.warmup",
    "grad_clip": "optim.clip_norm",
    "clip_grad": "optim.clip_norm",
    "max_grad_norm": "optim.clip_norm",
    "ema": "optim.ema_half_life",
    "bs": "train.batch_size",
    "batch": "train.batch_size",
    "num_epochs": "train.epochs",
    "max_epochs": "train.epochs",
    "n_epochs": "train.epochs",
    "grad_accum": "train.accumulate",
    "gradient_accumulation_steps": "train.accumulate",
    "accumulate_grad_batches": "train.accumulate",
    "amp": "train.precision",
    "dtype": "train.precision",
    "patience": "train.early_stop",
    "arch": "model.backbone",
    "architecture": "model.backbone",
    "stochastic_depth": "model.drop_path",
    "workers": "data.threads",
    "num_workers": "data.threads",
    "image_size": "data.size",
    "img_size": "data.size",
    "resolution": "data.size",
    "dataset": "data.shards",
    "data_dir": "data.shards",
    "smoothing": "loss.label_smoothing",
    "random_seed": "seed",
    "weights": "pretrained",
    "checkpoint": "init_from",
    "resume_from": "init_from",
}


def unknown_key(key: str, known: Sequence[str]) -> str:
    """A message that the dotted path `key` does not exist, with the one of `known` that is meant if it can be told."""
    near = _meant(key.lower().replace("-", "_"), [name for name in known if name != key])
    return f"unknown key {key!r}; " + (f"did you mean {near!r}?" if near else f"the keys are {', '.join(known)}")


def _meant(key: str, known: Sequence[str]) -> str | None:
    last = key.rpartition(".")[2]
    same = [name for name in known if name.rpartition(".")[2] == last]
    if key in known or same:
        return key if key in known else max(same, key=lambda name: difflib.SequenceMatcher(a=key, b=name).ratio())
    if last in ALIASES:
        return ALIASES[last]
    # A key without its section is compared with the last parts.
    parts = {name if "." in key else name.rpartition(".")[2]: name for name in reversed(known)}
    near = difflib.get_close_matches(key, list(parts), n=1) or difflib.get_close_matches(last, list(parts), n=1)
    return parts[near[0]] if near else None
