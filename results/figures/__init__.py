"""Drawings of runs: curves, predictions, rejection, filters, feature maps; `python -m training.figures` makes them.

What draws returns a matplotlib Figure; `style.save` writes it. What a run's folder gets is told in docs/figures.md.
"""

import logging

# Matplotlib's warnings are about where it keeps its list of fonts, and come when it is imported.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
