"""The best epoch: by top-1 on val, then by the negative log-likelihood."""

import dataclasses

import pytest

from artnet.training.progress import Progress


def scores(top1: float, nll: float) -> dict[str, dict[str, float]]:
    """Scores of two heads with these means."""
    return {"style": {"top1": top1 + 0.125, "nll": nll - 1}, "genre": {"top1": top1 - 0.125, "nll": nll + 1}}


@pytest.mark.parametrize(
    ("epochs", "best", "top1_epoch"),
    [
        ([(0.5, 1.62), (0.5, 1.5), (0.5, 1.39), (0.5, 1.39), (0.25, 1.1)], 3, 1),  # the lower nll, then the earlier
        ([(0.5, 1.2), (0.625, 9), (0.5, 1.1)], 2, 2),  # top-1 before nll
        ([(0.5, 1.2), (0.5, 1.3)], 1, 1),
    ],
)
def test_the_lower_nll_breaks_ties_on_val_and_patience_counts_from_the_best_top1(epochs, best, top1_epoch):
    progress = Progress()
    for epoch, (top1, nll) in enumerate(epochs, start=1):
        progress.close_epoch(epoch, scores(top1, nll))
    assert (progress.best_epoch, progress.top1_epoch) == (best, top1_epoch)
    assert progress.best_val == scores(*epochs[best - 1])


def test_the_progress_in_a_checkpoint_of_an_earlier_version_is_read():
    saved = dataclasses.asdict(Progress(step=30, epochs=3, best_epoch=2, best_val=scores(0.5, 1.5)))
    del saved["top1_epoch"]
    progress = Progress(**saved)
    assert progress.top1_epoch == 2
    progress.close_epoch(4, scores(0.5, 1.2))
    assert (progress.best_epoch, progress.top1_epoch) == (4, 2)
