"""All randomness is a function of a seed and of what it is used for.

NumPy's Philox on the host: every backend starts from the same weights and
sees the same batches, and a resumed run draws what the unbroken one would
have drawn, since nothing is carried from one draw to the next.

Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
"""

import numpy as np

WEIGHTS = 0
ORDER = 1
BATCH = 2
DIRECTIONS = 3
DROPOUT = 4
MIXUP = 5
HOLD_OUT = 6
SAMPLE = 7


def generator(seed: int, *use: int) -> np.random.Generator:
    """The stream of random numbers of `seed` for one use, such as `(ORDER, epoch)`."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=use)))
