"""The page of demo.py: digits drawn or uploaded in the browser, how they are read, and runs compared."""

import model  # noqa: F401  prepares the process for Paddle; before anything imports it
