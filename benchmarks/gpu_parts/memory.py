"""Part 9: running out of memory is recognised, and the training recovers with more accumulation."""

import gc
import math
from typing import Any

import torch

from artnet.errors import is_out_of_memory
from artnet.training import oom
from artnet.training.learner import Learner

from .report import Record
from .setting import Setting, alone, batches, learner, no_search, synchronize

PARTS = 8  # of a batch that fits
ROOM = 1.5  # times the memory of a step in `PARTS` parts
LEFT = 96 * 2**20  # bytes that are left when the card is full


def recovery(setting: Setting, record: Record) -> None:
    """A step that is too large is recognised as out of memory; in more parts it fits, with the same learner's weights.

    Then all memory but a little is taken, as by another program, and whatever fails first is recognised too.
    """
    batch_size = 16 if setting.rehearse else 256
    config = setting.config(224, batch_size, train__precision="bf16", train__accumulate=PARTS)
    batch = batches(config, 1, setting.device)[0]
    trained = learner(config, setting.device)
    no_search()
    trained.step(batch, 0)
    limit_memory(setting, record)
    state = trained.state_dict()
    ranks, accumulate, tried = alone(setting.device), 1, []
    while True:
        divided = config.model_copy(update={"train": config.train.model_copy(update={"accumulate": accumulate})})
        again = learner(divided, setting.device)
        no_search()
        again.load_state_dict(state)
        if setting.rehearse:
            again.model.register_forward_pre_hook(refuse)
        tried.append(accumulate)
        try:
            loss = float(again.step(batch, 1).loss)
            break
        except (RuntimeError, MemoryError) as error:
            check_recognised(error, record)
            explained = oom.explain(error, divided, ranks, accumulate)
            more = oom.doubled(accumulate, config, ranks)
            record.check("train.accumulate" in str(explained) and more is not None, str(explained))
            accumulate = more or 0
        del again
        record.check(oom.can_retry(setting.device), f"{setting.device} no longer computes after running out of memory")
    record.check(len(tried) > 1, "a whole batch fitted where a part of it should")
    record.check(math.isfinite(loss), f"the loss is {loss} after running out of memory")
    record.figure("parts that fit after running out of memory", accumulate)
    setting.needs_gpu()
    fill_card(again, batch, record)


def refuse(module: torch.nn.Module, images: tuple[torch.Tensor]) -> None:
    """Stands for a device whose memory holds 4 images."""
    if len(images[0]) > 4:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 image")


def limit_memory(setting: Setting, record: Record) -> None:
    """Let this process use a little more than the largest part of a step needed so far."""
    if setting.rehearse:
        return
    synchronize()
    peak, total = torch.cuda.max_memory_reserved(), torch.cuda.get_device_properties(0).total_memory
    record.figure(f"memory of a step in {PARTS} parts", peak / 2**30, "GiB")
    release()
    torch.cuda.set_per_process_memory_fraction(min(1.0, ROOM * peak / total))


def fill_card(trained: Learner, batch: Any, record: Record) -> None:
    """Take almost all memory of the card, train, and check that the error is recognised."""
    torch.cuda.set_per_process_memory_fraction(1.0)
    release()
    kept = torch.empty(max(0, torch.cuda.mem_get_info()[0] - LEFT), dtype=torch.uint8, device="cuda")
    try:
        for step in range(2, 5):
            trained.step(batch, step)
        synchronize()
    except (RuntimeError, MemoryError) as error:
        check_recognised(error, record)
        record.figure("error on a full card", type(error).__name__)
    else:
        record.figure("error on a full card", "none")
    del kept


def check_recognised(error: BaseException, record: Record) -> None:
    """Check that an error counts as out of memory."""
    said = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    record.check(is_out_of_memory(error), f"not recognised as out of memory: {said}")


def release() -> None:
    """Free what is no longer used."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
