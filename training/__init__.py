"""Training: one run, its passes, its checkpoints, its callbacks."""

import model  # noqa: F401  prepares the process for Paddle; before anything imports it
