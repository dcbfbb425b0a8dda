"""When it is computed: one run, its passes, its checkpoints, its results log, its figures."""
