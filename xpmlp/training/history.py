"""What a run has measured: one loss an iteration, one accuracy an epoch."""

from dataclasses import dataclass, field

import numpy as np


@dataclass
class History:
    """The series of a run, as the lecture keeps them; with E members each entry has E values."""

    losses: list[np.ndarray] = field(default_factory=list)
    accuracies: list[np.ndarray] = field(default_factory=list)

    @property
    def loss(self) -> np.ndarray:
        """The training loss of every iteration, (iterations,) or (iterations, E)."""
        return np.asarray(self.losses)

    @property
    def accuracy(self) -> np.ndarray:
        """The share of right answers over each epoch while it trained, (epochs,) or (epochs, E)."""
        return np.asarray(self.accuracies)
