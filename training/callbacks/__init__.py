"""The listeners of a run: console, live curves, figures, trackers, and a user's own."""
