"""Drawings of runs: curves, predictions, rejection, filters, feature maps; `python -m training.figures` makes them.

Functions that draw return a matplotlib Figure; `style.save` writes it. docs/figures.md lists a run's figures.
"""

import logging

# Matplotlib's warnings are about where it keeps its list of fonts, and come when it is imported.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
