"""A saved model and pictures in, digits out: the library behind infer.py and the page."""
