"""The environment of a training: that of the launcher without what a surrounding job has set."""

import os

# By which torchrun, SLURM's srun and MPI tell a process its rank, and by which torchrun takes defaults of its options.
_NAMES = frozenset(
    {
        *("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT"),
        *("GROUP_RANK", "GROUP_WORLD_SIZE", "ROLE_NAME", "ROLE_RANK", "ROLE_WORLD_SIZE", "MPI_LOCALRANKID"),
        *("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_NTASKS", "SLURM_NPROCS", "SLURM_GTIDS"),
        *("SLURM_CPUS_PER_TASK", "SLURM_TASKS_PER_NODE", "SLURM_NTASKS_PER_NODE", "SLURM_TASK_PID"),
    }
)
_PREFIXES = ("TORCHELASTIC_", "PET_", "SLURM_STEP_", "OMPI_", "PMI_", "PMIX_", "MV2_COMM_WORLD_", "PALS_", "SUBMITIT_")


def training_environment() -> dict[str, str]:
    """The variables of this process for a training, which is a run of its own, not a rank of a surrounding job."""
    return {name: value for name, value in os.environ.items() if name not in _NAMES and not name.startswith(_PREFIXES)}
