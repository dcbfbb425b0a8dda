"""A saved model and pictures in, digits out: what infer.py, and whoever builds on it, calls."""
