"""`xpmlp train`."""

import contextlib
import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer

from xpmlp.backends import select_backend
from xpmlp.cli.console import echo, echo_error, errors
from xpmlp.cli.next_command import echo_next
from xpmlp.cli.options import LogOption, RecipeArgument, RecipeOptions, takes_settings
from xpmlp.cli.profile import show
from xpmlp.cli.watching import Interruption
from xpmlp.data import Dataset
from xpmlp.data.hints import hints
from xpmlp.errors import CallbackError, DeviceLost, Diverged, InputError
from xpmlp.files import remove_unfinished
from xpmlp.recipes import Recipe, load_recipe, seconds
from xpmlp.reports import plot_training
from xpmlp.runs import (
    MAY_DIFFER,
    Checkpoints,
    RunDirectory,
    RunFingerprint,
    load_checkpoint,
    trainer_from_recipe,
)
from xpmlp.training import Callback, Trainer
from xpmlp.training.loggers import Logger, loggers_named
from xpmlp.training.metrics import describe
from xpmlp.training.profile import profile as profile_steps
from xpmlp.training.progress import Progress

HINT_ROWS = 4096
"""The most rows that hints about columns are drawn from."""


@takes_settings(
    Training=(
        "epochs", "batch_size", "learning_rate", "hidden", "seed", "shuffle", "members",
        "initial_weights", "time_limit",
    ),
    Data=("data", "target", "drop", "weights"),
    Machine=("backend", "device", "dtype", "threads", "compile"),
)  # fmt: skip
def train(
    recipe: RecipeArgument = "lecture",
    *,
    given: RecipeOptions,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The run directory (runs/RECIPE-N).")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Resume the run in this directory.")
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Resume although settings, data or versions differ."),
    ] = False,
    checkpoint_every: Annotated[
        str,
        typer.Option(
            metavar="STEPS|TIME", help="How often the state is saved: 500 steps, 30s, 10m."
        ),
    ] = "60s",
    log: LogOption = None,
    profile: Annotated[
        bool,
        typer.Option("--profile", help="First show where a step's time goes (us, GFLOP/s)."),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Print nothing but errors (and --profile).")
    ] = False,
) -> None:
    """Train a network: by default the lecture's, on MNIST, on a GPU if one works.

    Example: xpmlp train --epochs 5 --hidden 128,64 --shuffle --out runs/wide
    """
    options = RunOptions(
        *_steps_or_seconds(checkpoint_every),
        is_profiled=profile,
        quiet=quiet,
        loggers=loggers_named(log or []),
    )
    if resume is None:
        _begin(*given.recipe_and_data(recipe), out, name=Path(recipe).stem, options=options)
    elif (
        recipe == "lecture"
        and not (out or given.settings)
        and (force or given.options.keys() <= MAY_DIFFER)
    ):
        _resume(RunDirectory.existing(resume), given.options, force=force, options=options)
    else:
        raise InputError(
            f"--resume {resume}: resumes with its own settings; only --epochs and --time-limit may "
            "differ, or with --force any option but --set and --out"
        )


class RunOptions(NamedTuple):
    """How a run is carried out: steps (0: none) or seconds between checkpoints, what is
    shown, and which logs are written."""

    every_steps: int
    every_seconds: float
    is_profiled: bool
    quiet: bool
    loggers: list[type[Logger]]


def _steps_or_seconds(text: str) -> tuple[int, float]:
    """`500` steps, or a duration; the other is without an end."""
    if not text.isdecimal():
        return 0, seconds(text, shown_as="--checkpoint-every ")
    if not 1 <= int(text) < 1 << 62:
        raise InputError(f"--checkpoint-every {text}: give 1 or more steps, or a time such as 30s")
    return int(text), math.inf


def _begin(
    recipe: Recipe, dataset: Dataset, out: Path | None, *, name: str, options: RunOptions
) -> None:
    """A new run. Whatever can be refused is refused before its directory is made."""
    dataset = dataset.for_network(recipe.layer_sizes, recipe.output)
    backend = select_backend(recipe.backend, recipe.device or None)
    recipe = recipe.resolved(backend)
    trainer = trainer_from_recipe(recipe, dataset, backend)
    run = RunDirectory.new(recipe, name=name) if out is None else RunDirectory.create(out, recipe)
    _carry_out(run, trainer, dataset, RunFingerprint.of(recipe, dataset, backend), options=options)


def _resume(
    run: RunDirectory, changes: Mapping[str, object], *, force: bool, options: RunOptions
) -> None:
    """Resume an interrupted run from its last checkpoint; `force` accepts other settings."""
    remove_unfinished(run.checkpoint)
    recipe = load_recipe(str(run.config), options=changes, warns=False)
    snapshot, before = load_checkpoint(run)
    if snapshot.epoch >= recipe.epochs and run.has_results_of(snapshot.epoch):
        raise InputError(
            f"{run.path}: its {snapshot.epoch} epochs are done; ask for more with --epochs"
        )
    dataset = recipe.load_data().for_network(recipe.layer_sizes, recipe.output)
    backend = select_backend(recipe.backend, recipe.device or None)
    backend.reason = f"{backend.name} on {backend.device_name}: set in {run.config}"
    now = RunFingerprint.of(recipe, dataset, backend)
    if (differences := before.differences(now)) and not force:
        raise InputError(
            f"{run.path}: differs from its start: {', '.join(differences)}; restore it, or resume "
            "anyway with --force"
        )
    trainer = trainer_from_recipe(recipe, dataset, backend)
    trainer.restore(snapshot)
    if len(snapshot.history.losses) != trainer.iteration:
        raise InputError(f"{recipe.data}: has other rows than when {run.path} began; train again")
    run.save_recipe(recipe)
    _carry_out(run, trainer, dataset, now, options=options)


def _carry_out(
    run: RunDirectory,
    trainer: Trainer,
    dataset: Dataset,
    origin: RunFingerprint,
    *,
    options: RunOptions,
) -> None:
    """Train, save and print the results, also after an interruption or a divergence."""
    interruption = Interruption()
    checkpoints = Checkpoints(run, origin, every=options.every_steps, seconds=options.every_seconds)
    loggers = [logger.inside(run.path) for logger in options.loggers]
    callbacks: list[Callback] = [checkpoints, interruption, *loggers]
    again = f"resume with xpmlp train --resume {shlex.quote(str(run.path))}"
    with interruption, contextlib.ExitStack() as stack:
        if not options.quiet:
            _introduce(trainer, dataset)
        if options.is_profiled:
            show(profile_steps(trainer), trainer)
        if not options.quiet:
            progress = Progress(errors())
            stack.callback(progress.stop)
            callbacks.append(progress)
        try:
            trainer.run(callbacks)
        except Diverged as error:
            checkpoints.save(trainer.last_good)
            _save(run, trainer, dataset)
            raise Diverged(f"{error} in {run.path}") from error
        except DeviceLost as error:
            checkpoints.save(trainer.last_good)
            raise DeviceLost(f"{error} in {run.path}; {again}") from error
        except CallbackError as error:
            _save(run, trainer, dataset)
            left = "" if trainer.is_over else f": {again}"
            raise CallbackError(f"{error}; all is saved in {run.path}{left}") from error
        summary = _save(run, trainer, dataset)
    if trainer.epoch < trainer.epochs and not trainer.ended:
        echo_error(
            f"stopped in epoch {trainer.epoch + 1} of {trainer.epochs}; all is saved: {again}"
        )
    elif not options.quiet:
        if trainer.ended:
            epoch = min(trainer.epoch + 1, trainer.epochs)
            echo(f"Stopped in epoch {epoch} by {trainer.stopped_by}")
        _conclude(run, summary, trainer.history.metric, how=trainer.engine.how)
    raise typer.Exit(interruption.status)


def _save(run: RunDirectory, trainer: Trainer, dataset: Dataset) -> dict[str, Any]:
    test = trainer.evaluate(dataset.test)
    summary = run.save_results(
        trainer, test, image_shape=dataset.image_shape, schema=dataset.schema
    )
    if trainer.history.losses:
        plot_training(trainer.history, run.plot)
    return summary


def _introduce(trainer: Trainer, dataset: Dataset) -> None:
    backend, schema = trainer.backend, dataset.schema
    if schema.target:
        K = trainer.model.layer_sizes[-1]
        what = "numbers" if trainer.model.is_regression else f"{max(2, K)} classes"
        names = f" ({', '.join(map(str, schema.classes[:8]))})" if schema.classes else ""
        echo(f"Target: column {schema.target!r}, {what}{names}, from {len(schema.columns)} columns")
    if isinstance(X := dataset.train.X, np.ndarray):
        rows = np.unique(np.linspace(0, len(X) - 1, HINT_ROWS).astype(np.int64))
        for hint in hints(dataset.train.labels, schema, X[rows], rows):
            echo(f"Hint: {hint}")
    unused = trainer.row_count - trainer.steps_per_epoch * trainer.batch_size
    if unused > 0 and not trainer.config.shuffle:
        echo(
            f"{unused:,} of {trainer.row_count:,} rows are never used: the last incomplete batch "
            "is dropped, and rows are not shuffled (--shuffle, --set drop_last=false)"
        )
    echo(backend.reason)
    echo()
    echo("W/B Shapes", style="green")
    layers = trainer.model.layers(trainer.parameters, xp=backend.xp)
    for number, (W, b) in enumerate(layers, start=1):
        echo(f"W{number}/B{number}: {tuple(W.shape)}/{tuple(b.shape)}")
    echo()


def _conclude(run: RunDirectory, summary: dict[str, Any], metric: str, *, how: str) -> None:
    if (value := summary[f"train_{metric}"]) is not None:
        echo(f"Train {describe(metric, value)} over the last epoch", style="bold")
    if "validation_loss" in summary:
        echo(
            f"Validation {describe(metric, summary[f'validation_{metric}'])}, loss "
            f"{summary['validation_loss']:.4f}, at best (iteration "
            f"{summary['validation_iteration']:,})",
            style="bold",
        )
    echo(
        f"Test {describe(metric, summary[f'test_{metric}'])}, test loss {summary['test_loss']:.4f}",
        style="bold",
    )
    if "members" in summary:
        echo(
            f"  mean of {summary['members']} members; their ensemble: "
            f"{describe(metric, summary[f'ensemble_test_{metric}'])}"
        )
    echo(f"{summary['seconds']:.1f} s, {summary['seconds_per_step'] * 1e6:.0f} us per step, {how}")
    echo_next("xpmlp", "report", str(run.path), after=f"Run saved in {run.path}")
