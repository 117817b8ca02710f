"""What a run has measured: a loss an iteration, an accuracy an epoch, and of rows held out."""

from dataclasses import dataclass, field

import numpy as np


@dataclass
class History:
    """The series of a run, as the lecture keeps them; with E members each entry has E values.

    The validation series have an entry for each time the network was evaluated on rows held out,
    after so many iterations.
    """

    losses: list[np.ndarray] = field(default_factory=list)
    accuracies: list[np.ndarray] = field(default_factory=list)
    validation_iterations: list[int] = field(default_factory=list)
    validation_losses: list[np.ndarray] = field(default_factory=list)
    validation_accuracies: list[np.ndarray] = field(default_factory=list)

    def copy(self) -> "History":
        """A history that goes on for itself."""
        return History(**{name: list(series) for name, series in vars(self).items()})

    @property
    def loss(self) -> np.ndarray:
        """The training loss of every iteration, (iterations,) or (iterations, E)."""
        return np.asarray(self.losses)

    @property
    def accuracy(self) -> np.ndarray:
        """The share of right answers over each epoch while it trained, (epochs,) or (epochs, E)."""
        return np.asarray(self.accuracies)

    @property
    def validation(self) -> dict[str, np.ndarray]:
        """The validation series by name: iteration, loss and accuracy; empty without any."""
        if not self.validation_iterations:
            return {}
        return {
            "validation_iteration": np.asarray(self.validation_iterations),
            "validation_loss": np.asarray(self.validation_losses),
            "validation_accuracy": np.asarray(self.validation_accuracies),
        }
