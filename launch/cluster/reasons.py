"""SLURM's words for why a job waits, in plain words. Words that are not here are shown as SLURM writes them."""

_WORDS = {
    "JobArrayTaskLimit": "waits for max_parallel",
    "Priority": "waits for jobs of higher priority",
    "Resources": "waits for free resources",
    "Dependency": "waits for another job",
    "DependencyNeverSatisfied": "waits for a job that has failed",
    "BeginTime": "waits for its start time, as after a requeue",
    "JobHeldUser": "held by its user",
    "JobHeldAdmin": "held by an administrator",
    "PartitionDown": "its partition is down",
    "PartitionInactive": "its partition starts no jobs now",
    "PartitionTimeLimit": "its time is over the partition's limit",
    "PartitionNodeLimit": "it asks for more nodes than the partition allows",
    "ReqNodeNotAvail": "nodes that it needs are down or reserved",
    "Reservation": "waits for its reservation",
    "Licenses": "waits for a licence",
    "Cleaning": "SLURM cleans up after its last start",
}
_LIMITS = {"QOS": "a limit of its quality of service", "Assoc": "a limit of its account", "MaxSubmit": "a limit"}


def in_words(reason: str) -> str:
    """The reason as the status shows it; SLURM's own word of a limit stays, as administrators know it."""
    word = reason.partition(",")[0].strip().strip("()")
    if word in _WORDS:
        return _WORDS[word] + reason.partition(",")[1] + reason.partition(",")[2]
    limit = next((said for start, said in _LIMITS.items() if word.startswith(start)), "")
    return f"waits for {limit} ({word})" if limit else reason
