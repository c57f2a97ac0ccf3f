"""The page's data of a search: what its files say on val, and no figure on test but of what was confirmed."""

import json

from artnet.analysis.page.document import page_data
from tests.artnet.analysis.test_search import Asked, lr, make_search, some_trials


def test_trials_are_ranked_on_val_and_test_is_only_of_confirmed_ones(tmp_path):
    confirming = [Asked(lr(0.3), [0.3] * 8 + [top1], test=top1 - 0.1, confirms=2, seed=seed) for seed, top1 in
                  ((1, 0.6), (2, 0.62), (3, 0.64))]  # fmt: skip
    search = make_search(tmp_path, [*some_trials()[:5], *confirming])
    data = page_data(search.sweep)
    found = data["search"]
    assert (data["kind"], found["metric"], found["unit"]) == ("search", "val/top1", "%")
    assert [(trial["n"], trial["score"]) for trial in found["trials"]][:4] == [(0, 60), (1, 70), (2, 80), (3, 70)]
    assert found["trials"][4]["score"] is None
    assert found["ranked"][0] == 2
    assert found["best_so_far"] == [[0, 60], [2, 80], [3, 80]]
    assert found["random_best"] == [[0, 60]]
    assert found["scales"] == {"optim.lr": "log"}
    (confirmed,) = found["confirmed"]
    assert (confirmed["n"], confirmed["chosen"], confirmed["score"], confirmed["seeds"]) == (2, 80, 62, "3")
    assert confirmed["test"]["style"]["mean"] == 52
    runs = [data["runs"][position] for position in confirmed["runs"]]
    assert [run["scores"]["style"]["test"] for run in runs] == [50, 52, 54]
    assert [run["scores"].get("style", {}).get("test") for run in data["runs"][:5]] == [None] * 5
    text = json.dumps(data, allow_nan=False)
    for hidden in ("93.11", "12.34", "94.22"):  # test top-1 of the trials
        assert hidden not in text
    assert not {"answer", "differences", "factors", "cost", "classes"} & data.keys()
