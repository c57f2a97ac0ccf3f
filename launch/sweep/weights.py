"""Whether the weights that runs start from are there."""

from collections.abc import Callable, Sequence

from artnet.weights import check_readable
from shards.errors import UserError

from .folder import SweepDir
from .plan import Action, Decision


def check_weights(sweep: SweepDir, starting: Sequence[Decision], where: Callable[[str], str]) -> None:
    """Raise `UserError` if a run to start has no weights to start from; one with a checkpoint needs none.

    `where` says where a key is given, `FILE:LINE`.
    """
    checked = set()
    for decision in starting:
        config = decision.run.config
        resumes = decision.action is Action.RESUME and any(sweep.run(decision.run).checkpoints.glob("*.pt"))
        if resumes or config.weights_source in checked:
            continue
        checked.add(config.weights_source)
        try:
            check_readable(config)
        except UserError as error:
            raise UserError(f"{where('init_from' if config.init_from else 'pretrained')}: {error}") from None
