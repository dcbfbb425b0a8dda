"""The base class of the networks."""

from __future__ import annotations

from typing import ClassVar

import paddle
from paddle import nn

from model.image import ImageSpec
from model.ops.loss import first, log_softmax, softmax_loss


class Network(nn.Layer):
    """A LeNet: image [N, 1, size, size] -> scores [N, classes], larger is likelier; of rows see `LeNetRow`.

    A subclass states the picture it takes and builds its layers in its constructor, whose keyword arguments are the
    network's options.
    """

    image: ClassVar[ImageSpec]
    classes: int = 10
    undecayed: ClassVar[tuple[str, ...]] = ()  # weights that weight decay leaves alone, by their names in the network

    def decayed(self) -> frozenset[str]:
        """Names of the variables that weight decay is for: weights; biases and scales are those of one dimension."""
        named = self.named_parameters()
        return frozenset(p.name for name, p in named if len(p.shape) > 1 and name not in self.undecayed)

    def logits(self, scores: paddle.Tensor) -> paddle.Tensor:
        """The softmax's input, [N, ≥ classes]: the classes' scores, and others behind them."""
        return scores

    def loss(
        self, scores: paddle.Tensor, label: paddle.Tensor, smoothing: float
    ) -> tuple[paddle.Tensor, paddle.Tensor]:
        """Loss of a batch to be minimised, and [2]: the loss of the labels as they are, and how many are right.

        Args:
            scores: from `forward`.
            label: [N] int64.
            smoothing: part of each label that is spread evenly over the classes.
        """
        return softmax_loss(self.logits(scores), label, self.classes, smoothing)

    def log_probability(self, scores: paddle.Tensor) -> paddle.Tensor:
        """Scores [N, classes] -> natural logarithm of each class's probability [N, classes]."""
        return first(self.classes, log_softmax(self.logits(scores)))

    def probability(self, scores: paddle.Tensor) -> paddle.Tensor:
        """Scores [N, classes] -> each class's probability [N, classes]; Paddle 3's exp refuses the old IR."""
        return first(self.classes, nn.functional.softmax(self.logits(scores), axis=1))
