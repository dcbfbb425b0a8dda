"""The tables of the README and the docs, made from logs, networks, recipes and scripts."""
