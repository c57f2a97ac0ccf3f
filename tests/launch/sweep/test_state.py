"""The state of a run, by evidence."""

import signal

from launch.sweep.state import State, after_exit, on_this_machine


def test_exit_code_zero_without_a_result_is_a_failure():
    assert after_exit(0, "", "")[0] is State.FAILED
    assert after_exit(75, "", "")[0] is State.INTERRUPTED
    assert after_exit(-signal.SIGKILL, "", "") == (State.INTERRUPTED, "killed by SIGKILL")
    assert after_exit(128 + signal.SIGTERM, "", "")[0] is State.INTERRUPTED
    assert after_exit(-signal.SIGSEGV, "", "")[0] is State.FAILED
    assert after_exit(1, "failed: OutOfMemoryError: CUDA out of memory", "")[0] is State.OUT_OF_MEMORY
    assert after_exit(2, "", "data is gone") == (State.FAILED, "data is gone")


def test_what_is_found_on_this_machine():
    assert on_this_machine(True, False, "failed") is State.COMPLETE
    assert on_this_machine(False, False, "complete") is State.FAILED
    assert on_this_machine(False, True, "") is State.RUNNING
    assert on_this_machine(False, False, "running") is State.INTERRUPTED
    assert on_this_machine(False, False, "") is State.PLANNED
