"""An engine that trains and scores a NumPy network, with the same methods as `model.engine.PaddleEngine`."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import numpy as np

from reference.layers import Array, cross_entropy, log_softmax
from reference.networks import Network
from reference.optimizers import Optimizer

CHUNK = 64  # images scored at once: the largest arrays stay in the processor's caches, whatever the data set's size
REMEMBERED_STEPS = 32


class NumpyEngine:
    """Trains and scores one network in NumPy.

    The NumPy report ran out of memory when it scored the training set in one piece; here any number of images is scored
    in chunks of a fixed size. The document also centres the test images with their own mean, which a network in use
    does not have: images come here already centred, all with the mean of the training images.

    Args:
        network: with the parameters to start from.
        optimizer: constructed for this network's parameters.
        summed_gradients: train on the sum of the images' gradients, as the NumPy report does, not on their mean; a
            learning rate then means batch size times as much (for Adam: the same).
    """

    def __init__(self, network: Network, optimizer: Optimizer, summed_gradients: bool = False) -> None:
        self.network = network
        self.optimizer = optimizer
        self.summed_gradients = summed_gradients
        self._recent: deque[tuple[float, float]] = deque(maxlen=REMEMBERED_STEPS)

    @property
    def trainable(self) -> int:
        """Number of values that the optimizer changes."""
        return sum(array.size for array in self.network.parameters.values())

    def train_step(self, images: Array, labels: Array, learning_rate: float) -> tuple[float, int]:
        """Take one step on images [N, 1, S, S] and labels [N].

        Returns:
            The batch's mean loss in nats and its number of right answers, both before the step's update.
        """
        logits = self.network.forward(images, training=True)
        loss, gradient = cross_entropy(logits, labels)
        if not self.summed_gradients:
            gradient /= len(labels)
        self.optimizer.step(self.network.backward(gradient), learning_rate)
        correct = int(np.count_nonzero(logits.argmax(axis=0) == labels))
        self._recent.append((loss, correct))
        return loss, correct

    def recent(self, steps: int) -> Array:
        """Mean loss (nats) and number of right answers of the last `steps` batches, oldest first, [steps, 2] float32.

        At most `REMEMBERED_STEPS` are remembered.
        """
        return np.array(self._recent, np.float32).reshape(-1, 2)[len(self._recent) - steps :]

    def log_probabilities(self, images: Array) -> Array:
        """Natural logarithm of each class's probability, [N, classes], of images [N, 1, S, S]; memory is bounded."""
        chunks = [images[start : start + CHUNK] for start in range(0, max(len(images), 1), CHUNK)]
        return np.concatenate([log_softmax(self.network.forward(chunk)).T for chunk in chunks])

    def parameters(self) -> dict[str, Array]:
        """Parameters and running statistics by their names in the network ("conv1.weight"); copies."""
        return {name: array.copy() for name, array in self._network_arrays().items()}

    def load_parameters(self, parameters: Mapping[str, Array]) -> None:
        """Replace all parameters and running statistics; the optimizer's state stays.

        Raises:
            ValueError: names or shapes are not those of this network; nothing is replaced.
        """
        _fill(self._network_arrays(), parameters)

    def state(self) -> dict[str, Array]:
        """Everything that a later step depends on: parameters, running statistics, the optimizer's state; copies."""
        return {name: array.copy() for name, array in self._all_arrays().items()}

    def load_state(self, state: Mapping[str, Array]) -> None:
        """Continue from what `state` returned.

        Raises:
            ValueError: names or shapes are not those of this network and optimizer; nothing is replaced.
        """
        _fill(self._all_arrays(), state)

    def _network_arrays(self) -> dict[str, Array]:
        return self.network.parameters | self.network.statistics

    def _all_arrays(self) -> dict[str, Array]:
        return self._network_arrays() | self.optimizer.state


def _fill(own: Mapping[str, Array], given: Mapping[str, Array]) -> None:
    """Copy values into arrays of the same names and shapes, all or none."""
    for name in sorted(own.keys() | given.keys()):
        expected = list(own[name].shape) if name in own else "no such array"
        got = list(np.shape(given[name])) if name in given else "no such array"
        if expected != got:
            raise ValueError(f"arrays of another network or optimizer: {name}: expected {expected}, got {got}")
    for name, array in own.items():
        array[...] = given[name]
