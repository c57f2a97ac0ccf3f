"""Times as SLURM writes them."""

import pytest

from launch.cluster.times import read_seconds, write_minutes


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("00:00", 0),
        ("2:05", 125),
        ("30:00", 1800),
        ("01:02:03", 3723),
        ("2-03:04:05", 183_845),
        ("UNLIMITED", None),
        ("90", None),
        ("1:2", None),
        ("", None),
    ],
)
def test_a_time_is_read_as_seconds(text, seconds):
    assert read_seconds(text) == seconds


@pytest.mark.parametrize(
    ("minutes", "text"),
    [(1, "0:01:00"), (59, "0:59:00"), (60, "1:00:00"), (1439, "23:59:00"), (1499, "1-00:59:00"), (3725, "2-14:05:00")],
)
def test_minutes_are_written_as_they_are_read(minutes, text):
    assert write_minutes(minutes) == text
    assert read_seconds(text) == 60 * minutes
