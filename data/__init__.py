"""MNIST and its formats, splits, orders and distortions."""
