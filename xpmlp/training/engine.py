"""How the steps of a run are executed: compiled, once that has proved itself, or one by one.

What is compiled runs its first steps beside the eager ones, from the same state, and continues only
if they agree. Whatever goes wrong, then or later, the run continues eagerly from where it was, and
one warning says why. So an engine that meets a driver or a card that nobody tried can be slow, but
not wrong.
"""

import logging
from typing import Any

import numpy as np

from xpmlp.backends import Backend
from xpmlp.backends.base import PRECISIONS, Runner, StepMaker, StepMetrics
from xpmlp.backends.failures import is_lost, is_out_of_memory
from xpmlp.compiler.program import leaves
from xpmlp.errors import InputError, NotCompiled, option
from xpmlp.network import MLP
from xpmlp.training.state import copied
from xpmlp.training.step import TrainingData, TrainingState
from xpmlp.typing import Array

PROOF_STEPS = 3
"""Steps that a compiled run is compared with the eager one over."""

TOLERANCES = {"float64": 1e-9, "float32": 1e-4, "tf32": 1e-2, "float16": 1e-2}
"""Largest difference that rounding in another order may make, relative to the change itself."""

RMS_TOLERANCE = 0.2
"""The root mean square of differences that may be so, by that of the changes."""

log = logging.getLogger(__name__)


class Engine:
    """Runs steps, compiled if `compile` says so and it can be.

    `how` says in one line which way the steps go, and why. Of the flat vectors of `model`, each
    layer's part is compared for itself.

    Raises `InputError` for an unknown word, `NotCompiled` where it must compile and cannot.
    """

    def __init__(
        self,
        backend: Backend,
        make_step: StepMaker,
        model: MLP,
        *,
        precision: str,
        compile: str = "auto",
    ) -> None:
        if precision not in backend.precisions:
            raise InputError(
                f"dtype={precision}: {backend.name} computes in "
                f"{' or '.join(backend.precisions)}"
                + (f"; {option('backend', 'cupy')} in all" if precision in PRECISIONS else "")
            )
        if compile == "require" and not backend.compiles:
            raise _not_compiled(f"{backend.name} has nothing to compile with")
        self.backend, self.model = backend, model
        self.precision = precision
        self.mode = compile
        self.how = "step by step"
        self._make_step = make_step
        self._is_started = False
        self._compiled: Runner | None = None
        self._eager: Runner | None = None

    @property
    def is_compiled(self) -> bool:
        """Whether the steps go the compiled way."""
        return self._compiled is not None

    def start(self, state: Any, data: Any, *, steps: int) -> None:
        """Compile for a state and data like these, and compare the first steps with eager ones.

        `steps` is how many the data has rows for from here on. Done once, however often it is
        asked for; the state is not changed. Raises `NotCompiled` where `compile="require"` and
        it fails, and the error itself for too little memory or a lost GPU.
        """
        if self._is_started:
            return
        self._is_started = True
        if self.mode == "off":
            self.how = "step by step, as asked for"
            return
        if not self.backend.compiles:
            self.how = f"step by step: {self.backend.name} has nothing to compile with"
            return
        try:
            proof = (
                self._proof(state, data, min(PROOF_STEPS, steps)) if self.backend.proves else None
            )
            runner = self.backend.compile(self._make_step, state, data, precision=self.precision)
            if proof is not None:
                self._prove(runner, proof)
        except Exception as error:  # a compiler may fail in any way it likes
            if is_lost(error) or is_out_of_memory(error):
                raise
            self._give_up(error)
            return
        self._compiled = runner
        self.how = f"compiled for {self.backend.name}"

    def run(self, state: Any, data: Any, count: int) -> tuple[Any, StepMetrics]:
        """`count` steps; a `Runner`."""
        if self._compiled is not None:
            kept = copied(state, backend=self.backend) if self.backend.overwrites else state
            try:
                return self._compiled(state, data, count)
            except Exception as error:  # whatever a replay dies of
                if is_lost(error) or is_out_of_memory(error):
                    raise
                self._give_up(error)
                state = kept
        return self.run_eagerly(state, data, count)

    def run_eagerly(self, state: Any, data: Any, count: int) -> tuple[Any, StepMetrics]:
        """`count` steps, none of them compiled."""
        if self._eager is None:
            self._eager = self.backend.eager(self._make_step, precision=self.precision)
        return self._eager(state, data, count)

    def _give_up(self, error: Exception) -> None:
        self._compiled = None
        said = " ".join(str(error).split()) or type(error).__name__
        if self.mode == "require":
            raise _not_compiled(said) from error
        self.how = f"step by step: {said}"
        log.warning("running step by step, since compiled steps failed: %s", said)

    def _proof(self, state: Any, data: Any, steps: int) -> tuple[Any, ...]:
        """A state, data and a number of steps, and what the eager steps make of them.

        They run before anything is compiled, and their memory is given back.
        """
        state, data = _fast_enough_to_see(state, data, backend=self.backend)
        expected = self.run_eagerly(copied(state, backend=self.backend), data, steps)
        self._eager = None
        return state, data, steps, *expected

    def _prove(self, runner: Runner, proof: tuple[Any, ...]) -> None:
        state, data, steps, expected, metrics = proof
        found, found_metrics = runner(copied(state, backend=self.backend), data, steps)
        if difference := self._difference(found_metrics, metrics):
            raise NotCompiled(f"its {difference} from the steps run one by one")
        differing, same = [], set()
        for triple in zip(leaves(state), leaves(found), leaves(expected), strict=True):
            if self._agree(*triple):
                same.add(tuple(triple[0].shape))
            else:
                differing.append(triple)
        # A rule that divides a gradient by its own size makes a whole step of a rounding of next to
        # nothing. Then most of its steps must agree, and what it keeps of the gradients, all.
        if not all(
            tuple(triple[0].shape) in same and self._agree(*triple, mostly=True)
            for triple in differing
        ):
            raise NotCompiled("its parameters differ from those of the steps run one by one")

    def _difference(self, found: StepMetrics, expected: StepMetrics) -> str:
        """Which of the metrics differ, in words; empty if none."""
        to_numpy, tolerance = self.backend.to_numpy, TOLERANCES[self.precision]
        # A row whose two best logits are all but equal may fall either way: two of a count may.
        for name, *metrics, slack in (
            ("losses", found.loss, expected.loss, tolerance),
            ("counts of right answers", found.metric_sum, expected.metric_sum, 2),
        ):
            one, other = map(to_numpy, metrics)
            if not np.allclose(one, other, rtol=tolerance, atol=slack, equal_nan=True):
                return f"{name} ({one.ravel()[0]:g} for {other.ravel()[0]:g}) differ"
        return ""

    def _agree(self, before: Array, one: Array, other: Array, *, mostly: bool = False) -> bool:
        """Whether two arrays of a state differ, in each part, by no more than rounding does.

        That is measured by what changed, the largest difference by the largest change; `mostly`,
        one mean square by the other.
        """
        parts = zip(
            *(_parts(self.model, leaf, self.backend) for leaf in (before, one, other)), strict=True
        )
        return all(self._part_agrees(*part, mostly=mostly) for part in parts)

    def _part_agrees(self, before: Array, one: Array, other: Array, *, mostly: bool) -> bool:
        xp = self.backend.xp
        if not xp.isdtype(other.dtype, "real floating"):
            return bool(xp.all(one == other))
        finite = xp.isfinite(other)
        if not bool(xp.all(xp.isfinite(one) == finite)):
            return False
        before, one, other = (xp.where(finite, values, 0.0) for values in (before, one, other))
        rounding = 8 * PROOF_STEPS * float(xp.finfo(other.dtype).eps) * float(xp.max(xp.abs(other)))
        if mostly:
            square = float(xp.mean((one - other) ** 2))
            return (
                square <= (RMS_TOLERANCE**2) * float(xp.mean((other - before) ** 2)) + rounding**2
            )
        change = float(xp.max(xp.abs(other - before)))
        return float(xp.max(xp.abs(one - other))) <= TOLERANCES[self.precision] * change + rounding


def _not_compiled(why: str) -> NotCompiled:
    without = option("compile", "auto")
    return NotCompiled(f"the run could not be compiled ({why}); {without} trains without that")


PROOF_RATE = 0.01
"""The learning rate, at least, of steps that are compared: slower, they may change too little."""


def _fast_enough_to_see(
    state: TrainingState, data: TrainingData, *, backend: Backend
) -> tuple[TrainingState, TrainingData]:
    """State and data whose learning rate moves parameters by more than they are rounded."""
    rate = backend.to_numpy(state.learning_rate)
    visible = np.maximum(rate, rate.dtype.type(PROOF_RATE))
    state = state._replace(learning_rate=backend.asarray(visible))
    if data.lr_factors is not None:
        ones = np.ones(data.lr_factors.shape, rate.dtype)
        data = data._replace(lr_factors=backend.asarray(ones))
    return state, data


def _parts(model: MLP, leaf: Array, backend: Backend) -> list[Array]:
    """A flat vector as the layers' parts of it; another array whole."""
    if leaf.ndim and leaf.shape[-1] == model.parameter_count > 1:
        return list(model.unflatten(leaf, xp=backend.xp).values())
    return [leaf]
