"""What a run does when memory runs out, its GPU is lost, or its numbers become NaN or infinite."""

import contextlib
import dataclasses
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xpmlp.backends import Backend
from xpmlp.backends.failures import is_lost, is_out_of_memory
from xpmlp.errors import DeviceLost, Diverged
from xpmlp.training.nonfinite import NonFiniteError, find_first_nonfinite
from xpmlp.training.state import copied

if TYPE_CHECKING:
    from xpmlp.training.trainer import Trainer

STEP_BYTES_PER_UNIT = 16
"""What a step needs of memory, about, for each row of a part of a batch and unit behind the inputs,
which are taken whole: A, Z, dA and dZ."""

LEAST_SAVED_BYTES = 2 * 2**20
"""Bytes that halving a batch must save to be tried: less than a GPU hands out at a time."""

SHORT_MEMORY_BLOCKS = 8
"""Into how many parts rows, or free memory if it is smaller, are split where memory is short."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MemoryPlan:
    """How a run fits in memory: in how many parts it takes a batch, and whether rows in blocks."""

    parts: int = 1
    in_blocks: bool = False

    def __str__(self) -> str:
        parts = [f"each batch in {self.parts} parts"] if self.parts > 1 else []
        return " and ".join([*(["rows in blocks"] if self.in_blocks else []), *parts])

    def limit(self, X: Any, backend: Backend) -> int | None:
        """Return the bytes that rows may take on the device; None for the usual share."""
        if not self.in_blocks:
            return None
        free = backend.free_memory()
        return int(X.nbytes if free is None else min(X.nbytes, free)) // SHORT_MEMORY_BLOCKS

    def smaller(self, trainer: "Trainer") -> "MemoryPlan | None":
        """Return a plan that takes less memory: blocks, or twice as many parts; None if none."""
        X, units = trainer.split.X, trainer.metric_sum.size * sum(trainer.model.layer_sizes[1:])
        batch = trainer.batch_size * units * STEP_BYTES_PER_UNIT
        is_sent = isinstance(X, np.ndarray) and trainer.backend.device_name != "cpu"
        can_stream = is_sent and trainer.batches.rows is None and not self.in_blocks
        can_split = (
            self.parts < trainer.batch_size
            and trainer.model.normalization != "batch"
            and batch / (2 * self.parts) >= LEAST_SAVED_BYTES
        )
        if can_stream and (X.nbytes > batch or not can_split):
            return dataclasses.replace(self, in_blocks=True)
        if can_split:
            return dataclasses.replace(self, parts=min(2 * self.parts, trainer.batch_size))
        return None


def plan_after(error: Exception, trainer: "Trainer") -> MemoryPlan:
    """Return how to run again after this error: with less memory.

    Raises `DeviceLost` for a GPU that is, and the error itself where less memory does not help.
    """
    backend, said = trainer.backend, " ".join(str(error).split()) or type(error).__name__
    if is_lost(error):
        raise DeviceLost(
            f"{backend.name} on {backend.device_name} was lost in epoch "
            f"{trainer.epoch + 1}, step {trainer.step + 1} ({said}); the state after "
            f"{trainer.last_good.epoch} epochs is kept"
        ) from error
    plan = trainer.memory.smaller(trainer) if is_out_of_memory(error) else None
    if plan is None:
        raise error
    log.warning(
        "%s on %s is out of memory (%s): epoch %d begins again with %s",
        backend.name, backend.device_name, said, trainer.last_good.epoch + 1, plan,
    )  # fmt: skip
    return plan


def divergence(error: NonFiniteError, trainer: "Trainer") -> Diverged:
    """Return the error of a run that diverged and is back at its last good state."""
    epoch, step = divmod(error.iteration - 1, trainer.steps_per_epoch)
    rates = np.unique(trainer.optimizer_config.learning_rate)
    rate = ", ".join(f"{rate:g}" for rate in rates)
    try:
        fault = _find_fault(error.iteration, trainer)
    except Exception as failure:  # it only explains another error
        log.info("the step that went wrong could not be replayed: %s", failure)
        fault = ""
    return Diverged(
        f"{error.found} at iteration {error.iteration} (epoch {epoch + 1}, step {step + 1})"
        f"{f', first in {fault},' if fault else ''} with learning rate {rate}: try a smaller "
        f"one, such as {rates.min() / 10:g}; the state after {trainer.last_good.epoch} epochs is "
        "kept"
    )


def _find_fault(iteration: int, trainer: "Trainer") -> str:
    """What became NaN or infinite first at this iteration of the present epoch, or at the one
    before, whose loss was still finite; in words, empty if unknown.

    The steps up to there are taken again, one by one, from a copy of the trainer's state.
    """
    done, state = trainer.iteration, copied(trainer.state, backend=trainer.backend)
    plan = trainer.epoch_plan()
    with contextlib.closing(trainer.loader().epoch(plan, done=trainer.step)) as chunks:
        for chunk in chunks:
            state, left = state._replace(offset=chunk.offset), chunk.steps
            for suspect in (iteration - 1, iteration):
                ahead = min(suspect - 1 - done, left)
                if ahead > 0:
                    state, _ = trainer.engine.run_eagerly(state, chunk.data, ahead)
                    done, left = done + ahead, left - ahead
                if left and done == suspect - 1:
                    fault = find_first_nonfinite(
                        trainer.step_maker, state, chunk.data, backend=trainer.backend
                    )
                    if fault:
                        return fault
    return ""
