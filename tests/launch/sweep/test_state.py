"""The state of a run, by evidence."""

import signal

import pytest

from artnet.rundir import EXIT_STOPPED
from launch.sweep.state import Observation, State, after_exit, on_this_machine

SIGBUS = "killed by SIGBUS: a shard was cut short while it was read; replace it, never overwrite it"
TORCHRUN = "torch.distributed.elastic.multiprocessing.api.SignalException: Process 42 got signal: {}"


@pytest.mark.parametrize(
    ("code", "outcome", "last_line", "state", "reason"),
    [
        (EXIT_STOPPED, "", "", State.INTERRUPTED, "stopped on request"),
        (1, "stopped", "", State.INTERRUPTED, "stopped on request"),  # torchrun ends with 1
        (-signal.SIGKILL, "", "", State.INTERRUPTED, "killed by SIGKILL"),
        (128 + signal.SIGTERM, "", "", State.INTERRUPTED, "killed by SIGTERM"),
        (1, "", TORCHRUN.format(15), State.INTERRUPTED, "killed by SIGTERM"),
        (1, "", TORCHRUN.format(11), State.FAILED, TORCHRUN.format(11)),
        (-signal.SIGSEGV, "", "", State.FAILED, "exit code -11"),
        (128 + signal.SIGBUS, "", "", State.FAILED, SIGBUS),
        (-signal.SIGBUS, "", "x", State.FAILED, SIGBUS),
        (signal.SIGINT, "", "data is missing", State.FAILED, "data is missing"),  # 2: wrong input, not a signal
        (1, "failed: PeerGoneError: rank 1 is gone", "x", State.INTERRUPTED, "rank 1 is gone"),
        (1, "failed: OutOfMemoryError: CUDA", "x", State.OUT_OF_MEMORY, "OutOfMemoryError: CUDA"),
        (1, "failed: no room", "x", State.FAILED, "no room"),
        (0, "", "", State.FAILED, "ended with exit code 0, but left no valid result.json"),
    ],
)
def test_the_end_of_a_process_without_a_result_is_interrupted_or_failed(code, outcome, last_line, state, reason):
    assert after_exit(code, outcome, last_line) == (state, reason)


@pytest.mark.parametrize(
    ("complete", "locked", "recorded", "state"),
    [
        (True, True, "running", State.COMPLETE),
        (True, False, "failed", State.COMPLETE),
        (False, True, "", State.RUNNING),
        (False, True, "failed", State.RUNNING),
        (False, False, "", State.PLANNED),
        (False, False, "complete", State.FAILED),  # the result is gone or invalid
        (False, False, "running", State.INTERRUPTED),
        (False, False, "cancelled", State.CANCELLED),
        (False, False, "of a later version", State.INTERRUPTED),
    ],
)
def test_a_run_on_this_machine_is_judged_by_its_result_then_its_lock_then_its_record(complete, locked, recorded, state):
    assert on_this_machine(complete, locked, recorded) is state


def test_an_observation_without_a_scheduler_is_not_silent():
    assert Observation({}) == Observation({}, trouble="", is_silent=False)
