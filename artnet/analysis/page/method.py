"""How the page's numbers were made: which interval is where, of how many, and what is left out."""

from collections.abc import Mapping
from typing import Any

GLOSSARY = [
    ("top-1", "the share of paintings whose likeliest class is the right one"),
    ("baseline", "the model that others are compared with: the grid's baseline, else its first model"),
    ("seed", "the number from which a training draws its weights and the order of its paintings"),
    ("95 % interval", "computed in this way, it covers the true value in 95 of 100 studies"),
    ("over trainings", "how far a figure would vary with other seeds, on the same test paintings"),
    ("over paintings", "how far it would vary with other test paintings, for the same trained networks"),
    ("recall", "the share of a class's paintings that are given to it"),
    ("calibration", "whether of the answers with a confidence of 80 %, 80 % are right"),
    ("temperature", "the number by which logits are divided before the softmax, fitted on val"),
    ("ECE", "expected calibration error: the mean distance of confidence and accuracy over 15 equal bins"),
    ("Pareto line", "through the models that no other beats in both accuracy and cost"),
]
ON_TEST = [
    "Val chooses the epoch of each run; test is evaluated once, with the checkpoint of that epoch.",
    "Means are over seeds, ± is the sample standard deviation.",
    "Differences to the baseline: Dunnett's test over trainings, for models with three seeds or more; its 95 % "
    "intervals hold for all models of a task together. With fewer seeds they are over test paintings, by a paired "
    "bootstrap within classes that draws near-duplicates together, and say nothing of other trainings.",
    "Bold: the model with the highest mean, and all that Dunnett's test against it cannot tell from it.",
    "Factors: main effects and interactions where all combinations of the values were trained, else the means "
    "over pairs of models that differ in that key alone; the standard deviation is pooled over all models, and "
    "intervals are corrected for the number of effects of a key.",
    "Cost: the interval of a model's top-1 is Student's t over three seeds or more, and Wilson's over test "
    "paintings for a single one.",
    "Recall has the same kinds of interval. Confusions are shares of each true class, averaged over seeds.",
    "Calibration is on test, before and after the temperature that was fitted on val.",
    "Published figures have no interval.",
]
ON_VAL = [
    "Configurations are ranked on val. Test is shown only for those that were trained again over other seeds, "
    "which had no part in the choice.",
    "Importance is PED-ANOVA (Watanabe et al., IJCAI 2023) as in Optuna; below 30 complete runs it is uncertain.",
]


def method(is_search: bool, missing: list[str]) -> Mapping[str, Any]:
    """The sentences and the glossary. `missing` are sentences on what is left out."""
    return {"method": [*(ON_VAL if is_search else ON_TEST), *missing], "glossary": GLOSSARY}
