"""When it is computed: one run, its passes, its checkpoints, its results log, its figures."""

import logging

import model  # noqa: F401  prepares the process for Paddle; before anything imports it

# Its warnings are about where it keeps its list of fonts, and come when it is imported.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
