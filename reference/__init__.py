"""LeNet-5 in NumPy alone: layers with hand-written gradients, optimizers, networks, and an engine that trains them.

It is the oracle of the tests and an engine of `train.py`; the NumPy report is its source, and docstrings name each
correction of that document.
"""
