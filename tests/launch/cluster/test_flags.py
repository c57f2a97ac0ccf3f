"""Options of sbatch and srun that the grid passes on."""

import shlex

import pytest
from pydantic import ValidationError

from launch.cluster import tryout
from launch.cluster.executor import SlurmArrayExecutor
from launch.cluster.flags import bare_last
from launch.cluster.programs import SchedulerError
from launch.cluster.resources import Resources

from .test_resources import request

ODD = 'it\'s "odd" # $(touch x) `y` \\ %j  é'


def test_options_reach_sbatch_as_arguments_and_srun_through_the_shell_as_they_are_written(tmp_path):
    asked = Resources(
        sbatch={"mail_user": "a@b", "mail-type": ["END", "FAIL"], "comment": ODD, "exclusive": True, "hold": False,
                "nice": 5},
        srun={"container_image": ODD, "mpi": "none"},
        wrapper="apptainer exec --nv 'my image.sif'",
    )  # fmt: skip
    executor = SlurmArrayExecutor(tmp_path)
    executor.wrapper = asked.wrapper
    executor.update_parameters(array_parallelism=1, signal_delay_s=30, **asked.parameters())
    executor._count, executor._code = 1, tmp_path
    command = executor._make_submission_command(tmp_path / "a.sh")
    assert {"--mail-user=a@b", "--mail-type=END,FAIL", f"--comment={ODD}", "--exclusive", "--nice=5"} <= set(command)
    assert not [word for word in command if word.startswith("--hold")]
    last = executor._make_submission_file_text("python x", "").splitlines()[-1]
    words = shlex.split(last, comments=True)
    assert words[words.index("--kill-on-bad-exit=1") + 1 :] == [
        f"--container-image={ODD}", "--mpi=none", "apptainer", "exec", "--nv", "my image.sif", "python", "x",
    ]  # fmt: skip


def test_an_override_changes_the_options_that_it_names(tmp_path):
    override = {"when": {"seed": 1}, "sbatch": {"exclusive": False, "mail-user": "c@d"}, "srun": {"mpi": "pmix"}}
    block = {"sbatch": {"mail_user": "a@b", "exclusive": True, "comment": "x"}, "overrides": [override]}
    asked, runs = request(tmp_path, block)
    assert asked.of(runs[0]).sbatch == ("--mail-user=a@b", "--exclusive", "--comment=x")
    assert set(asked.of(runs[1]).sbatch) == {"--mail-user=c@d", "--comment=x"}
    assert asked.of(runs[1]).srun == ("--mpi=pmix",)


@pytest.mark.parametrize(
    ("program", "name", "value", "said"),
    [
        ("sbatch", "array", "0-3", "array cannot be given: the runs of a grid are the array; slurm.max_parallel"),
        ("sbatch", "arr", "0-3", "arr (array) cannot be given"),  # getopt takes the beginning of a name
        ("sbatch", "cpus-per-task", 4, "cannot be given: use slurm.cpus_per_task"),
        ("sbatch", "no_requeue", True, "cannot be given: use `slurm.requeue: 0`"),
        ("sbatch", "gres", "lscratch:10,gpu:a100:2", "gres cannot be given for GPUs: use slurm.gpus_per_node"),
        ("sbatch", "J", "x", "'J' is not the long name of an option of sbatch"),
        ("sbatch", "n", 3, "'n' is a short name; give the long one"),
        ("sbatch", "--comment", "x", "'--comment' is not the long name"),
        ("sbatch", "comment=x --wrap", "x", "is not the long name"),
        ("sbatch", "comment", "a\n#SBATCH --uid=0", "comment: line ends and other control characters"),
        ("sbatch", "comment", None, "comment: give text in quotes, a list of texts, or true"),
        ("sbatch", "comment", {"a": 1}, "comment: give text in quotes"),
        ("sbatch", "mail_type", [], "mail_type: give text in quotes"),
        ("srun", "ntasks", 3, "cannot be given: use slurm.nodes and slurm.tasks_per_node"),
        ("srun", "multi_prog", True, "cannot be given: all ranks run the same program"),
        ("srun", "kill-on-bad", 0, "kill-on-bad (kill-on-bad-exit) cannot be given"),
        ("srun", "output", "x", "cannot be given: --logs shows what a job prints"),
    ],
)
def test_what_would_break_a_job_is_refused_with_what_to_use_instead(program, name, value, said):
    with pytest.raises(ValidationError) as refused:
        Resources(**{program: {name: value}})
    assert said in str(refused.value)


def test_an_option_that_lacks_its_value_cannot_take_the_next_argument_unnoticed(monkeypatch):
    asked = Resources(sbatch={"comment": True, "nice": 5, "hold": True}, srun={"mpi": True})
    assert bare_last(asked.sbatch) == [["--nice=5", "--hold", "--comment"], ["--comment", "--nice=5", "--hold"]]

    def run(program, *words):
        if program == "sbatch" and words[-1] == "--comment":
            raise SchedulerError("x", "sbatch: option '--comment' requires an argument\nTry \"sbatch --help\"\n")
        if program == "srun" and words[-2:] == ("--mpi", "--usage"):
            raise SchedulerError("x", "srun: fatal: No command given to execute.\n")
        return ""

    monkeypatch.setattr(tryout.programs, "run", run)
    assert tryout.problems(asked, lambda key: f"grid.yaml:{key}", all_in_service=True) == [
        "grid.yaml:sbatch: SLURM refuses these resources: option '--comment' requires an argument; change them",
        "grid.yaml:srun: srun refuses these options: option '--mpi' requires an argument; change slurm.srun",
    ]
