"""Optimizers: they change parameters in place, given gradients under the same names.

Each is constructed for the parameters that it will move, and its memory is a dict of named arrays, `state`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from reference.layers import Array


class Optimizer:
    """Plain gradient descent has no memory; the others fill `state`.

    Attributes:
        state: "<parameter>.<what>" -> array, updated in place; with the parameters, all that the next step needs.
    """

    def __init__(self, parameters: Mapping[str, Array]) -> None:
        self.parameters = parameters
        self.state: dict[str, Array] = {}

    def step(self, gradients: Mapping[str, Array], learning_rate: float) -> None:
        """Move every parameter once."""
        raise NotImplementedError


class SGD(Optimizer):
    """Gradient descent: p ← p - rate · g."""

    def step(self, gradients: Mapping[str, Array], learning_rate: float) -> None:
        """Move every parameter once."""
        for name, parameter in self.parameters.items():
            parameter -= learning_rate * gradients[name]


class Momentum(Optimizer):
    """Gradient descent with momentum, as paddle.optimizer.Momentum: v ← momentum · v + g; p ← p - rate · v.

    The NumPy report uses momentum 0.99.
    """

    def __init__(self, parameters: Mapping[str, Array], momentum: float = 0.9) -> None:
        super().__init__(parameters)
        self.momentum = momentum
        self.state = {f"{name}.velocity": np.zeros_like(p) for name, p in parameters.items()}

    def step(self, gradients: Mapping[str, Array], learning_rate: float) -> None:
        """Move every parameter once."""
        for name, parameter in self.parameters.items():
            velocity = self.state[f"{name}.velocity"]
            velocity *= self.momentum
            velocity += gradients[name]
            parameter -= learning_rate * velocity


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015, algorithm 1), as paddle.optimizer.Adam.

    m ← β₁·m + (1-β₁)·g;  v ← β₂·v + (1-β₂)·g²;  p ← p - rate · (m / (1-β₁ᵗ)) / (√(v / (1-β₂ᵗ)) + epsilon), t the number
    of this step, from 1.
    """

    def __init__(
        self, parameters: Mapping[str, Array], beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8
    ) -> None:
        super().__init__(parameters)
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon
        self.state = {"steps": np.zeros((), np.int64)}
        for name, parameter in parameters.items():
            self.state[f"{name}.moment1"] = np.zeros_like(parameter)
            self.state[f"{name}.moment2"] = np.zeros_like(parameter)

    def step(self, gradients: Mapping[str, Array], learning_rate: float) -> None:
        """Move every parameter once."""
        self.state["steps"] += 1
        steps = int(self.state["steps"])
        # √(v / correction) + epsilon = (√v + epsilon · √correction) / √correction: two operations on arrays fewer.
        root = float(np.sqrt(1 - self.beta2**steps))
        rate = learning_rate * root / (1 - self.beta1**steps)
        for name, parameter in self.parameters.items():
            gradient = gradients[name]
            moment1, moment2 = self.state[f"{name}.moment1"], self.state[f"{name}.moment2"]
            moment1 *= self.beta1
            moment1 += (1 - self.beta1) * gradient
            moment2 *= self.beta2
            moment2 += (1 - self.beta2) * np.square(gradient)
            parameter -= rate * moment1 / (np.sqrt(moment2) + self.epsilon * root)


def optimizer_of(name: str, parameters: Mapping[str, Array], momentum: float) -> Optimizer:
    """The optimizer of that name, "adam", "momentum" or "sgd"."""
    if name == "adam":
        return Adam(parameters)
    return Momentum(parameters, momentum) if name == "momentum" else SGD(parameters)
