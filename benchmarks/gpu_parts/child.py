"""The process of a part."""

import importlib
import os
import sys
import traceback
from pathlib import Path

import torch

from artnet.models.build import BACKBONES
from artnet.models.resnet import BasicBlock

from . import PARTS, SIDE_BY_SIDE
from .report import FAILED, NOT_MEASURED, PASSED, CheckError, NotMeasuredError, Record
from .setting import Setting

PROJECT = ("artnet", "benchmarks", "launch", "shards")


def run(number: int, setting: Setting, file: Path, log: Path) -> None:
    """Run a part and write what it found to `file`, and what it prints to `log`. For a process of its own."""
    os.setsid()  # so that it can be ended together with the processes that it starts
    with log.open("ab") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    if not PARTS[number].alone:  # threads of OpenMP that share a core wait for each other
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // SIDE_BY_SIDE))
    if setting.rehearse:  # one block in each stage
        BACKBONES["resnet18"] = (BasicBlock, (1, 1, 1, 1))
    record = Record(file, judged=not setting.rehearse)
    module, function = PARTS[number].function.split(".")
    try:
        if not setting.rehearse and number != 1 and not torch.cuda.is_available():
            raise NotMeasuredError("needs a GPU")
        getattr(importlib.import_module(f".{module}", __package__), function)(setting, record)
    except (NotMeasuredError, CheckError) as ended:
        record.close(NOT_MEASURED if isinstance(ended, NotMeasuredError) else FAILED, str(ended))
    except ImportError as error:
        missing = (error.name or "").partition(".")[0]
        if not missing or missing in PROJECT:
            _fail(record, error)
        else:
            record.close(NOT_MEASURED, f"needs {missing}")
    except BaseException as error:
        _fail(record, error)
    else:
        record.close(PASSED)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # a broken CUDA context or a thread cannot hold it up


def _fail(record: Record, error: BaseException) -> None:
    traceback.print_exc()
    said = (str(error).strip().splitlines() or [""])[0]
    record.close(FAILED, f"{type(error).__name__}: {said}")
