"""Where a run stands, on the disk: written so that no moment to be killed in loses more than what
came after the last one, and read only by the run that it is of.

A checkpoint is one safetensors file with a digest of its content. The one before stays in its place
until the new one is whole.
"""

import hashlib
import importlib.metadata
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

import xpmlp
from xpmlp.backends import Backend
from xpmlp.data import Dataset
from xpmlp.errors import InputError
from xpmlp.recipes import SETTINGS, Recipe, by_name
from xpmlp.runs.directory import RunDirectory, fault, history_of
from xpmlp.tensors import below, load_tensors, save_tensors
from xpmlp.training import Best, Callback, Snapshot, Trainer

STATE, BEST = "state.", "best."
"""What the names of a checkpoint's tensors begin with."""

CHECKPOINT_SHARE = 0.02
"""The part of a run's time that checkpoints may take: one that would take more has to wait."""

MAY_DIFFER = frozenset({"epochs", "time_limit"})
"""Settings that may change when a run is resumed."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunFingerprint:
    """The settings, data and versions that a run's numbers depend on.

    `settings` are those of its recipe, `data` the SHA-256 of its data set, `versions` those of
    the libraries that compute.
    """

    settings: dict[str, Any]
    data: str
    versions: dict[str, str]

    @classmethod
    def of(cls, recipe: Recipe, dataset: Dataset, backend: Backend) -> "RunFingerprint":
        """That of a run with this recipe, every setting resolved."""
        settings = {name: one for name, one in recipe.settings.items() if name not in MAY_DIFFER}
        versions = {"xpmlp": xpmlp.__version__, "numpy": np.__version__}
        for name in PACKAGES.get(backend.name, ()):
            try:
                versions[name] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                continue
        data = dataset.digest
        if dataset.schema.columns:  # other names may be encoded as the same rows
            names = json.dumps([data, dataset.schema.to_json()])
            data = hashlib.sha256(names.encode()).hexdigest()
        return cls(settings, data, versions)

    def differences(self, now: "RunFingerprint") -> list[str]:
        """What is another now, in words."""
        # A setting that an older version had not stands for its default.
        new = {name: SETTINGS[name].default for name in now.settings if name in SETTINGS}
        usual = {name: one for name, one in new.items() if one is not None}
        return [
            *_changes({**usual, **self.settings}, now.settings),
            *([f"other content of {now.settings['data']}"] if self.data != now.data else []),
            *_changes(self.versions, now.versions),
        ]


PACKAGES = {
    "cupy": ("cupy-cuda13x", "cupy-cuda12x", "cupy"),
    "jax": ("jax", "jaxlib"),
    "torch": ("torch",),
}
"""Whose versions the numbers of a backend depend on, besides NumPy's."""


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [
        f"{name} {before.get(name, 'unset')} -> {now.get(name, 'unset')}"
        for name in {**before, **now}
        if before.get(name) != now.get(name)
    ]


def save_checkpoint(run: RunDirectory, snapshot: Snapshot, origin: RunFingerprint) -> None:
    """Write the state of a run, for `load_checkpoint`."""
    best = {} if snapshot.best is None else snapshot.best._asdict()
    tensors = {
        "correct": snapshot.metric_sum,
        **snapshot.history.series,
        **{f"{STATE}{name}": array for name, array in snapshot.state.items()},
        **{f"{BEST}{name}": np.asarray(array) for name, array in best.items()},
    }
    metadata = {
        "epoch": snapshot.epoch,
        "step": snapshot.step,
        "seconds": snapshot.seconds,
        **vars(origin),
    }
    save_tensors(run.checkpoint, tensors, metadata)


def load_checkpoint(run: RunDirectory) -> tuple[Snapshot, RunFingerprint]:
    """Return the last checkpoint of a run; `InputError` if it cannot be read."""
    tensors, metadata = load_tensors(run.checkpoint)
    try:
        best = below(BEST, tensors)
        snapshot = Snapshot(
            state=below(STATE, tensors),
            epoch=int(metadata["epoch"]),
            step=int(metadata["step"]),
            metric_sum=tensors["correct"],
            history=history_of(tensors),
            seconds=float(metadata["seconds"]),
            best=Best(**best) if best else None,
        )
        origin = RunFingerprint(
            by_name(dict(metadata["settings"]))[0],
            str(metadata["data"]),
            dict(metadata["versions"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        said = fault(error)
        raise InputError(f"{run.checkpoint}: no checkpoint ({said}); train again") from error
    return snapshot, origin


@dataclass(eq=False, repr=False)
class Checkpoints(Callback):
    """The callback that writes a run's checkpoints.

    They are written before the first step, after every epoch, every few steps or seconds, and at
    the end. A checkpoint that would take more than `CHECKPOINT_SHARE` of the run's time so far is
    postponed; one with NaN or infinite parameters is not written. If a checkpoint cannot be
    written, training continues with one warning, and the next one is tried; if the last one fails,
    that is an `InputError`.
    """

    run: RunDirectory
    origin: RunFingerprint
    _: KW_ONLY
    every: int = 0
    seconds: float = 60.0
    clock: Callable[[], float] = time.perf_counter

    def __post_init__(self) -> None:
        self._began = self._written = self.clock()
        self._cost = self._spent = 0.0
        self._saved: tuple[int, int] | None = None
        self._is_refused = False

    def on_start(self, trainer: Trainer, /) -> None:
        self.save(trainer.snapshot())

    def on_tick(self, trainer: Trainer, /) -> None:
        if trainer.step == trainer.steps_per_epoch:
            return  # the epoch's own comes next
        is_asked = bool(self.every) and trainer.iteration % self.every == 0
        if self._may_write and (is_asked or self.clock() - self._written >= self.seconds):
            self._try(trainer.snapshot())

    def on_epoch(self, trainer: Trainer, /) -> None:
        if self._may_write:
            self._try(trainer.last_good)

    def on_end(self, trainer: Trainer, /) -> None:
        if self._saved != (trainer.epoch, trainer.step):
            self.save(trainer.snapshot())

    @property
    def _may_write(self) -> bool:
        """Whether one like the last, and one at the end, would stay within the share."""
        return self._spent + 2.0 * self._cost <= CHECKPOINT_SHARE * (self.clock() - self._began)

    def _try(self, snapshot: Snapshot) -> None:
        try:
            self.save(snapshot)
        except InputError as error:
            if not self._is_refused:
                log.warning("%s; training continues, and saving is tried again", error)
            self._is_refused = True
        else:
            self._is_refused = False

    def save(self, snapshot: Snapshot) -> None:
        """Write this state, if a run can resume from it; `InputError` if the disk refuses."""
        if not snapshot.finite:
            return
        began = self.clock()
        try:
            save_checkpoint(self.run, snapshot, self.origin)
            self._saved = (snapshot.epoch, snapshot.step)
        finally:
            self._written = self.clock()
            self._cost = self._written - began
            self._spent += self._cost
