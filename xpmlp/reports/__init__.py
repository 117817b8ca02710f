"""What people look at: figures, the lecture's slides of one's own network, a page about a run.

plot.py      figures of a run, of the search for a learning rate, of a sweep
explain.py   every matrix of a training step; its formulas in the network's names (notation.py),
             as a figure and as LaTeX (slides.py, slides.tex)
flow.py      how large activations and gradients are, layer by layer
page.py      a run as one HTML file, of page.html; what the network makes of its test rows
             (metrics.py), charts and images
compare.py   several runs beside each other
numbers.py   numbers as people read them
"""

from xpmlp.reports.plot import accuracy_ticks, plot_rates, plot_sweep, plot_training

__all__ = ["accuracy_ticks", "plot_rates", "plot_sweep", "plot_training"]
