"""What people look at: figures, the lecture's slides of one's own network, a page about a run.

plot.py   pictures of a run, of the search for a learning rate, of a sweep
"""

from xpmlp.reports.plot import accuracy_ticks, plot_rates, plot_sweep, plot_training

__all__ = ["accuracy_ticks", "plot_rates", "plot_sweep", "plot_training"]
