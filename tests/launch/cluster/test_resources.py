"""What a run asks SLURM for."""

from pathlib import Path

import pytest
import yaml

from launch import grid
from launch.cluster.resources import Request, Resources, SlurmBlock
from launch.grid import Run
from shards.errors import UserError
from tests.conftest import TINY


def request(tmp_path: Path, slurm: dict, **given: object) -> tuple[Request, list[Run]]:
    values = {"name": "tiny", "slurm": slurm, "fixed": TINY, "parameters": {"seed": [0, 1, 2]}}
    file = tmp_path / "grid.yaml"
    file.write_text(yaml.safe_dump(values, sort_keys=False))
    loaded = grid.load(file)
    block = loaded.read_block(SlurmBlock, "slurm", loaded.slurm, given)
    return Request(loaded, block, given), grid.expand(loaded).runs


def test_later_overrides_win_and_the_command_line_wins_over_all(tmp_path):
    overrides = [{"when": {"seed": 1}, "time": "2:00:00", "nodes": 2}, {"when": {"seed": 1}, "nodes": 3}]
    slurm = {"time": "8:00:00", "gpus_per_node": 4, "max_parallel": 8, "overrides": overrides}
    asked, runs = request(tmp_path, slurm)
    assert [(asked.of(run).time, asked.of(run).nodes) for run in runs] == [(480, 1), (120, 3), (480, 1)]
    line = (tmp_path / "grid.yaml").read_text().splitlines().index("    nodes: 3") + 1
    assert asked.where(runs[1], "nodes") == f"{tmp_path}/grid.yaml:{line}"
    asked, runs = request(tmp_path, slurm, nodes=4, time=None)
    assert [(asked.of(run).time, asked.of(run).nodes) for run in runs] == [(480, 4), (120, 4), (480, 4)]
    assert asked.where(runs[1], "nodes") == "--nodes"


def test_what_the_grid_leaves_open_the_users_own_defaults_for_sbatch_say(tmp_path):
    asked, runs = request(tmp_path, {"partition": "main"})
    asked = Request(
        asked._grid, asked.block, {}, {"SBATCH_PARTITION": "old", "SBATCH_QOS": "night", "SBATCH_ACCOUNT": ""}
    )
    wanted = asked.of(runs[0])
    assert (wanted.partition, wanted.qos, wanted.account) == ("main", "night", None)
    assert asked.where(runs[0], "qos") == "SBATCH_QOS"


def test_resources_in_submitits_words():
    asked = Resources(
        time="1-00:00:30", nodes=2, gpus_per_node=4, gpu_type="a100", mem="64G", constraint="ib|nvme",
        exclude="node[1-3],node9", reservation="course", setup="module load cuda",
    )  # fmt: skip
    assert asked.parameters() == {
        "time": 1441, "nodes": 2, "ntasks_per_node": 4, "gpus_per_node": "a100:4", "mem": "64G",
        "constraint": "ib|nvme", "exclude": "node[1-3],node9", "setup": ["module load cuda"],
        "additional_parameters": {"reservation": "course"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("slurm", "said"),
    [
        ({"partiton": "gpu"}, ":3: unknown key 'partiton' in slurm; the keys are partition, account"),
        ({"partition": "gpu\n#SBATCH --uid=0"}, ":3: slurm.partition: names are letters"),
        ({"account": "a b"}, ":3: slurm.account: a name is letters"),
        ({"constraint": "a'b"}, ":3: slurm.constraint: write features"),
        ({"exclude": "$(date)"}, ":3: slurm.exclude: write hosts"),
        ({"mem": 64}, ":3: slurm.mem: write memory as a number"),
        ({"nodes": True}, ":3: slurm.nodes:"),
        ({"sbatch": {"comment": "x", "wrap": "y"}}, ":3: slurm.sbatch: wrap cannot be given: use slurm.setup"),
        ({"sbatch": ["x"]}, ":3: slurm.sbatch: write options of sbatch as `{NAME: VALUE}`"),
        ({"wrapper": 'env "A'}, ":3: slurm.wrapper: no closing quotation"),
        ({"wrapper": ["nice", 3]}, ":3: slurm.wrapper: write a command and its arguments"),
        ({"mem": "1G", "sbatch": {"mem_per_cpu": "1G"}}, "sbatch.mem_per_cpu and mem or mem_per_gpu contradict"),
        ({"overrides": [{"when": {"seed": 1}, "srun": {"pty": True}}]}, ":6: slurm.srun: pty cannot be given"),
        ({"time": "90"}, ":3: slurm.time: write a time limit"),
        ({"mem": "1G", "mem_per_gpu": "1G"}, "mem and mem_per_gpu contradict each other"),
        ({"gpu_type": "a100"}, "gpu_type has no effect without gpus_per_node"),
        ({"mem_per_gpu": "1G"}, "mem_per_gpu has no effect without gpus_per_node"),
        ({"overrides": [{"when": {"seed": 1}, "tme": "1:00:00"}]}, ":6: unknown key 'tme'; did you mean 'time'?"),
        ({"overrides": [{"when": {"seed": 1}, "time": "90"}]}, ":6: slurm.time: write a time limit"),
        ({"overrides": [{"when": {"sed": 1}, "time": "1:00:00"}]}, ":5: unknown key"),
        ({"overrides": [{"time": "1:00:00"}]}, ":4: an override is `{when: {KEY: VALUE}, ...}`"),
        ({"overrides": [{"when": {"seed": 9}, "time": "1:00:00"}]}, ":4: this `when` matches no run of the grid"),
    ],
)
def test_a_wrong_slurm_block_is_refused_with_its_line(tmp_path, slurm, said):
    with pytest.raises(UserError) as refused:
        asked, runs = request(tmp_path, slurm)
        asked.check_matches(runs)
    assert said in str(refused.value)
