"""CONTRIBUTING: what "Add your own attention" says is all that there is to do."""

import re
import shutil
import subprocess
import sys

import pytest

from tests.conftest import ROOT, environment

# In a process of its own: the configuration reads the registry when it is imported.
PROGRAM = """
import sys, torch
from pathlib import Path
from artnet.analysis.summary import _model_name
from artnet.config import build, canonical, flatten
from artnet.config.keys import listing
from artnet.models import build_model
from launch import grid
from shards.errors import UserError

file = Path(sys.argv[1])
file.write_text("name: x\\nfixed: {task: style}\\nparameters: {model.attention: [none, gate]}\\n")
plain, gated = (run.config for run in grid.expand(grid.load(file)).runs)
assert "-gate_" in gated.name and gated.signature != plain.signature
assert _model_name(flatten(gated)).endswith(" + Gate")
assert "gate" in listing("model.attention").split()
try:
    canonical("model.attention", "gat")
except UserError as error:
    assert "'gate'" in str(error), error
else:
    raise AssertionError

network = build_model(**gated.model.model_dump(), classes={"style": 3})
network(torch.rand(2, 3, 33, 33))["style"].sum().backward()
attention = network.layer4[0].attention
assert type(attention).__name__ == "Gate" and attention.logit.grad is not None
x = torch.rand(2, len(attention.logit), 2, 2)
assert torch.equal(attention(x), attention.start_neutral() * x)
"""


@pytest.mark.slow
def test_an_attention_is_added_by_a_module_and_an_entry(tmp_path):
    page = (ROOT / "CONTRIBUTING.md").read_text().split("## Add your own attention\n")[1].split("\n## ")[0]
    module, entry = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    for package in ("artnet", "launch", "shards"):
        shutil.copytree(ROOT / package, tmp_path / package)
    (file,) = re.findall(r"Write it to `(.*?)`", page)
    assert not (ROOT / file).exists()
    (tmp_path / file).write_text(module)
    (registry,) = re.findall(r"an entry of `ATTENTIONS` in\s+`(.*?)`", page)
    text = (tmp_path / registry).read_text()
    (tmp_path / registry).write_text(text.replace("ATTENTIONS = {\n", f"ATTENTIONS = {{\n{entry}"))
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path / "grid.yaml"],
        cwd=tmp_path,
        env=environment(PYTHONPATH=str(tmp_path)),
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
