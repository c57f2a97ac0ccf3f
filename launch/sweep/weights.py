"""Whether the weights that runs start from are there and fit."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from artnet.config import RunConfig
from artnet.rundir import RunDir
from artnet.weights import check_readable
from shards.errors import UserError

from .folder import SweepDir
from .plan import Action, Decision


def check_weights(
    sweep: SweepDir,
    starting: Sequence[Decision],
    where: Callable[[str], str],
    sources: Collection[Path],
    awaited: Collection[Path],
) -> None:
    """Raise `UserError` if a run to start has no weights to start from that fit it; one with a checkpoint needs none.

    `where` says where a key is given, `FILE:LINE`. Runs of the sweeps in `sources` must be complete, except for those
    whose folder is `awaited`: they will be.
    """
    checked = set()
    for decision in starting:
        config = decision.run.config
        source = config.weights_source
        resumes = decision.action is Action.RESUME and any(sweep.run(decision.run).checkpoints.glob("*.pt"))
        need = (source, config.weights_ema, config.model)
        if resumes or source is None or need in checked or source in awaited:
            continue
        checked.add(need)
        try:
            _check(config, source, sources)
        except UserError as error:
            raise UserError(f"{where('init_from' if config.init_from else 'pretrained')}: {error}") from None


def _check(config: RunConfig, source: Path, sources: Collection[Path]) -> None:
    check_readable(config)
    if source.is_dir() and not RunDir(source).result():
        if source.parent in sources:
            raise UserError(f"init_from: {source} is not complete; train that run first")
        return  # its best epoch so far, which may be another when the run starts
    from artnet.models.pretrained import check_fits  # imports torch, which takes seconds

    check_fits(config)
