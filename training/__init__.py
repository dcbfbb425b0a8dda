"""When it is computed: one run, its passes, its checkpoints, its results log, its figures."""

import logging

# Its warnings are about where it keeps its list of fonts, and come when it is imported.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
