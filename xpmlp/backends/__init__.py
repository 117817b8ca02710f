"""Where arrays live and how a training step is run: one module a library, no formulas.

`select_backend` is the one entrance; `survey` says what this machine has.
"""

from xpmlp.backends.base import PRECISIONS, Backend, DeviceInfo, StepMetrics
from xpmlp.backends.select import BACKENDS, BackendReport, select_backend, survey, usable_backends

__all__ = [
    "BACKENDS",
    "PRECISIONS",
    "Backend",
    "BackendReport",
    "DeviceInfo",
    "StepMetrics",
    "select_backend",
    "survey",
    "usable_backends",
]
