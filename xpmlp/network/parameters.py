"""The parameters of a network: one flat vector, and its parts by name and kind.

W1 b1 W2 b2 ... lie one after another in ONE vector, and every part is a view of it. So an
optimizer's update is one expression, a checkpoint one tensor and a sum over machines one call.
Running statistics, which nothing learns, come last.
"""

import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from xpmlp.errors import InputError
from xpmlp.typing import Array, Namespace

Kind = Literal["weight", "bias", "scale", "shift", "running mean", "running variance"]


class ParameterArray(NamedTuple):
    """One array of a network's parameters: its name, such as `W1`, its shape and what it is for."""

    name: str
    shape: tuple[int, ...]
    kind: Kind

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)

    @property
    def is_learned(self) -> bool:
        """Whether training changes it by its gradient; running statistics are measured."""
        return not self.kind.startswith("running")


@dataclass(frozen=True)
class Parameters:
    """The layout of a flat vector: `parts` in their order, those that are learned first.

    A leading axis of a vector, (E, P) in place of (P,), is E networks at once.
    """

    parts: tuple[ParameterArray, ...]

    @functools.cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each part by name."""
        return {part.name: part.shape for part in self.parts}

    @functools.cached_property
    def _places(self) -> tuple[tuple[str, slice, tuple[int, ...]], ...]:
        """Name, place in the vector and shape of each part: looked up in every step."""
        stops = list(itertools.accumulate(part.size for part in self.parts))
        return tuple(
            (part.name, slice(stop - part.size, stop), part.shape)
            for part, stop in zip(self.parts, stops, strict=True)
        )

    def unflatten(self, vector: Array, *, xp: Namespace) -> dict[str, Array]:
        """Return the parts of a vector (P,) or (E, P) by name: views where the library has them.

        A vector of what is learned alone has no running statistics.
        """
        *members, length = vector.shape
        return {
            name: xp.reshape(vector[..., where], (*members, *shape))
            for name, where, shape in self._places
            if where.stop <= length
        }

    def flatten(
        self, parts: Mapping[str, Array], members: Sequence[int] = (), *, xp: Namespace
    ) -> Array:
        """Return the parts that are given as one vector, in the order of the layout."""
        flat = [xp.reshape(parts[name], (*members, -1)) for name in self.shapes if name in parts]
        return xp.concat(flat, axis=-1)

    def check(self, parts: Mapping[str, np.ndarray], owner: object) -> tuple[int, ...]:
        """Return the shape of the member axes of `parts`, all of which must be there and fit.

        Raises
        ------
        InputError
            For a missing or unknown name and for a shape that does not fit.
        """
        names = list(self.shapes)
        if missing := [name for name in names if name not in parts]:
            raise InputError(f"no {', '.join(missing)}: {owner} has {', '.join(names)}")
        if unknown := [name for name in parts if name not in names]:
            raise InputError(f"unknown {', '.join(unknown)}: {owner} has {', '.join(names)}")
        members = parts[names[0]].shape[:-2]
        for name, shape in self.shapes.items():
            if parts[name].shape != (*members, *shape):
                found, wanted = parts[name].shape, (*members, *shape)
                raise InputError(f"{name} has shape {found}, but {owner} takes {wanted}")
        return members

    def mask(self, *kinds: Kind) -> np.ndarray:
        """Return which of the P learned numbers are of these kinds; (P,) booleans."""
        flags = [np.full(part.size, part.kind in kinds) for part in self.parts if part.is_learned]
        return np.concatenate(flags)
