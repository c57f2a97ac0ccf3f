"""What SLURM says of jobs, read."""

from datetime import datetime

import pytest

from launch.cluster import queue
from launch.cluster.queue import Answer, QueueEntry, from_slurm, read_elements, read_history, read_queue
from launch.sweep.state import State


def queue_line(*cells: str) -> str:
    return "".join(cell.ljust(width) for cell, width in zip(cells, queue.QUEUE_COLUMNS.values(), strict=True))


def test_a_line_of_squeue_is_a_job_by_its_name_and_tiny():
    text = "\n".join(
        [
            queue_line("12_3", "RUNNING", "node[1-2]", "None", "1:58", "0", "artnet-a|b-1"),
            queue_line("12_4", "FAILED", "node1", "NonZeroExit", "0:00", "35072", "artnet-a"),
            "slurm_load_jobs error: not a job",
        ]
    )
    jobs = read_queue(text)
    assert jobs == {
        ("artnet-a|b-1", 3): QueueEntry("12_3", "RUNNING", "node[1-2]", "", "1:58", "0:0"),
        ("artnet-a", 4): QueueEntry("12_4", "FAILED", "node1", "NonZeroExit", "0:00", "137:0"),
    }


def test_the_last_time_that_accounting_saw_a_job_counts_and_ranges_are_all_their_elements():
    jobs = read_history(
        "12_0|NODE_FAIL|node1|None|0:0|artnet-a\n"
        "12_0|COMPLETED|node2|None|0:0|artnet-a\n"
        "12_[1-2,5%2]|CANCELLED by 0|None assigned|None|0:0|artnet-a\n"
    )
    assert jobs["artnet-a", 0].node == "node2"
    assert [jobs["artnet-a", tiny].id for tiny in (1, 2, 5)] == ["12_1", "12_2", "12_5"]
    assert len(jobs) == 4


def test_elements_of_arrays():
    assert read_elements("") == [0]
    assert read_elements("3") == [3]
    assert read_elements("[0-4:2,7%4]") == [0, 2, 4, 7]
    with pytest.raises(ValueError, match="names no elements"):
        read_elements("[0-")


def test_every_word_of_slurm_has_a_meaning_and_new_ones_are_unknown():
    words = (
        "PENDING RUNNING SUSPENDED COMPLETED CANCELLED FAILED TIMEOUT NODE_FAIL PREEMPTED BOOT_FAIL DEADLINE "
        "OUT_OF_MEMORY COMPLETING CONFIGURING LAUNCH_FAILED POWER_UP_NODE RECONFIG_FAIL REQUEUED REQUEUE_FED "
        "REQUEUE_HOLD RESIZING RESV_DEL_HOLD REVOKED SIGNALING SPECIAL_EXIT STAGE_OUT STOPPED UPDATE_DB EXPEDITING"
    )
    assert State.UNKNOWN not in map(from_slurm, words.split())
    assert from_slurm("CANCELLED+") is State.CANCELLED
    assert from_slurm("BRAND_NEW") is State.UNKNOWN


def test_a_job_that_somebody_killed_has_not_failed():
    assert from_slurm("FAILED", "137:0") is State.INTERRUPTED
    assert from_slurm("FAILED", "0:9") is State.INTERRUPTED
    assert from_slurm("FAILED", "9:0") is State.INTERRUPTED
    assert from_slurm("FAILED", "2:0") is State.FAILED
    assert from_slurm("FAILED", "75:0") is State.INTERRUPTED
    assert from_slurm("FAILED", "1:0") is State.FAILED
    assert from_slurm("FAILED", "139:0") is State.FAILED
    assert from_slurm("OUT_OF_MEMORY", "0:9") is State.OUT_OF_MEMORY


def test_an_answer_is_kept_for_30_s_but_not_for_other_jobs(tmp_path, monkeypatch):
    asked = []
    known = Answer({("a", 0): QueueEntry("1_0", "RUNNING", "node1")}, "accounting is down", history_known=False)
    monkeypatch.setattr(queue, "ask", lambda names, places, since: asked.append(names) or known)
    now = datetime.now()
    assert queue.ask_again(tmp_path, {"a"}, [("a", 0)], now) == known
    assert queue.ask_again(tmp_path, {"a"}, [("a", 0)], now) == known
    assert len(asked) == 1
    queue.ask_again(tmp_path, {"a", "b"}, [("a", 0), ("b", 0)], now)
    assert len(asked) == 2
    monkeypatch.setattr(queue, "ASK_EVERY_S", 0)
    queue.ask_again(tmp_path, {"a"}, [("a", 0)], now)
    assert len(asked) == 3
