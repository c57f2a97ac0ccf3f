"""The file in which torchrun looks for the error that one of its processes ended with. Light to import (no torch).

When a process fails, torchrun ends the others and prints a traceback of its own, then what the error files of those
that failed hold. Only there is a sentence not buried.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

OTHERS_WAIT_S = 5.0  # for torchrun to stop them, which takes it a tenth of a second
POLL_S = 0.02


def report(sentence: str, is_stopped: Callable[[], bool]) -> None:
    """Report the error with which this process ends: where torchrun shows it, or else on stderr.

    The processes of a host usually end with one error. The first reports it, and torchrun stops the others: they end
    without a word, as torchrun lists what they say too. One that is not stopped has an error of its own.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("LOCAL_RANK", "0") != "0":
        until = time.monotonic() + OTHERS_WAIT_S
        while not is_stopped() and time.monotonic() < until:
            time.sleep(POLL_S)
        if is_stopped():
            os._exit(0)
    if not record(sentence):
        print(sentence, file=sys.stderr, flush=True)


def record(sentence: str) -> bool:
    """Write the error to the error file. Returns whether torchrun will show it, as it does unless it starts again."""
    file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    tries, most = (os.environ.get(f"TORCHELASTIC_{name}") for name in ("RESTART_COUNT", "MAX_RESTARTS"))
    if not file or tries != most:
        return False
    # As torch.distributed.elastic writes it, without a traceback.
    content = {"message": {"message": sentence, "extraInfo": {"timestamp": str(int(time.time()))}}}
    try:
        Path(file).write_text(json.dumps(content), encoding="utf-8")
    except OSError:
        return False
    return True
