"""How many steps the runs of a plan train. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence

from ..grid import Run

TOO_FEW = 100  # steps in all, below which a network has hardly left its first weights


def steps(runs: Sequence[Run], paintings: Mapping[str, int]) -> list[str]:
    """`755 paintings / 256 = 2 steps an epoch, 4 in all`, for each kind of run; `paintings` by the name of a run."""
    kinds = Counter(
        (paintings[run.config.name], run.config.train.batch_size, run.config.train.epochs)
        for run in runs
        if run.config.name in paintings
    )
    lines = []
    for (count, batch, epochs), number in kinds.items():
        each = count // batch
        several = f"{number} run{'s' * (number > 1)}: " if len(kinds) > 1 or number > 1 else ""
        advice = ": too few to learn; set train.batch_size or train.epochs" if each * epochs < TOO_FEW else ""
        unit = "step" if each == 1 else "steps"
        lines.append(f"{several}{count} paintings / {batch} = {each} {unit} an epoch, {each * epochs} in all{advice}")
    return lines
