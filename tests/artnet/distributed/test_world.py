"""The environment of a rank: what torchrun sets, and what another job has left there."""

import pytest

from artnet.distributed.world import World
from shards.errors import UserError

ADDRESS = {"MASTER_ADDR": "a", "MASTER_PORT": "1"}


@pytest.mark.parametrize(
    "environment",
    [
        {"RANK": "3", "WORLD_SIZE": "1"},
        {"RANK": "3"},
        {"RANK": "-1", "WORLD_SIZE": "2", **ADDRESS},
        {"RANK": "0", "WORLD_SIZE": "0"},
        {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "1", **ADDRESS},
        {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "-1", **ADDRESS},
        {"RANK": "0", "WORLD_SIZE": "two", **ADDRESS},
        {"RANK": "0", "WORLD_SIZE": "2", "MASTER_PORT": "1"},
        {"WORLD_SIZE": "2", **ADDRESS},
    ],
)
def test_variables_of_another_job_are_refused(environment):
    with pytest.raises(UserError, match=r"; start ranks with torchrun, or unset these variables"):
        World.from_environment(environment)


def test_variables_that_may_be_left_out():
    assert World.from_environment({"RANK": "", "WORLD_SIZE": ""}) == World()
    given = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", **ADDRESS}
    assert World.from_environment(given) == World(5, 8, 1, 1)
