"""Layers with hand-written gradients.

Feature maps are [C, H, W, N]: the images come last, all images of one pixel side by side in memory. What a layer does
to a pixel it then does to N neighbouring numbers at once. Measured at N = 64 on the first convolution of the NumPy
report's network, the images last against the usual [N, C, H, W]: 0.05 against 0.19 ms to lay out the columns, 0.03
against 0.08 ms for the pooling. The values of a fully connected layer are [D, N].

Notation: L is the loss, x a layer's input, y its output, dx = ∂L/∂x, and so on. A layer's backward half is two
methods, to be called after `forward(x, training=True)`: `parameter_gradients(dy)`, and `input_gradient(dy)`, which the
first layer of a network never needs.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

Array = np.ndarray


class Layer:
    """A function y = f(x) with, perhaps, parameters.

    Attributes:
        parameters: name -> array, what training changes; names and shapes are those of the layer in paddle.nn.
        statistics: name -> array, what `forward` keeps during training for the use of evaluation.
    """

    def __init__(self) -> None:
        self.parameters: dict[str, Array] = {}
        self.statistics: dict[str, Array] = {}

    def forward(self, x: Array, training: bool) -> Array:
        """y for x; with `training`, also what the gradients need is kept until the next call."""
        raise NotImplementedError

    def parameter_gradients(self, dy: Array) -> dict[str, Array]:
        """Gradient of the loss with respect to each parameter, under the parameters' names."""
        return {}

    def input_gradient(self, dy: Array) -> Array:
        """dx for dy."""
        raise NotImplementedError


class Conv(Layer):
    """Convolution, stride 1, no padding: y[o, h, w] = Σ_{c,i,j} weight[o, c, i, j] · x[c, h + i, w + j] + bias[o].

    Laid out as columns[(c, i, j), (h, w, n)] = x[c, h + i, w + j, n], the images make it one matrix product.
    The NumPy report takes a stride and ignores it; here there is none to take.

    Args:
        weight: [O, C, k, k].
        bias: [O].
    """

    def __init__(self, weight: Array, bias: Array) -> None:
        super().__init__()
        self.parameters = {"weight": weight, "bias": bias}

    def forward(self, x: Array, training: bool) -> Array:
        """x [C, H, W, N] -> y [O, H-k+1, W-k+1, N]."""
        weight, bias = self.parameters["weight"], self.parameters["bias"]
        filters, channels, k, _ = weight.shape
        windows = sliding_window_view(x, (k, k), axis=(1, 2))  # [C, H-k+1, W-k+1, N, k, k], a view
        columns = windows.transpose(0, 4, 5, 1, 2, 3).reshape(channels * k * k, -1)
        y = weight.reshape(filters, -1) @ columns
        y += bias[:, np.newaxis]
        if training:
            self.columns, self.x_shape = columns, x.shape
        return y.reshape(filters, *windows.shape[1:4])

    def parameter_gradients(self, dy: Array) -> dict[str, Array]:
        """y = weight · columns + bias, so dweight = dy · columnsᵀ, and dbias = Σ dy over places and images."""
        weight = self.parameters["weight"]
        dy = dy.reshape(len(weight), -1)
        # As columns · dyᵀ: with the long side first, OpenBLAS takes 0.7 of the time for most shapes of these networks.
        return {"weight": (self.columns @ dy.T).T.reshape(weight.shape), "bias": dy.sum(axis=1)}

    def input_gradient(self, dy: Array) -> Array:
        """x[c, h, w] went into y[o, h-i, w-j] with weight[o, c, i, j], so

            dx[c, h, w] = Σ_{o,i,j} weight[o, c, i, j] · dy[o, h-i, w-j].

        The NumPy report computes this sum as a correlation of the padded dy with rotated kernels. The kernels must then
        be rotated over their two spatial axes and dy padded by k-1; the document rotates over filters and channels
        (`np.rot90` without axes) and pads by k. Its gradient belongs to other weights and is one pixel off. Here
        dcolumns = weightᵀ · dy is added back to the pixels that each column was copied from: the same sum without the
        zeros, 0.3 against 1.2 ms for the second convolution.
        """
        weight = self.parameters["weight"]
        filters, channels, k, _ = weight.shape
        _, rows, width, images = dy.shape
        dcolumns = weight.reshape(filters, -1).T @ dy.reshape(filters, -1)
        dcolumns = dcolumns.reshape(channels, k, k, rows, width, images)
        dx = np.zeros(self.x_shape, dy.dtype)
        for i in range(k):
            for j in range(k):
                dx[:, i : i + rows, j : j + width] += dcolumns[:, i, j]
        return dx


class _Pool(Layer):
    """Windows of k×k, side by side; rows and columns left over at the lower and right edge are dropped."""

    def __init__(self, k: int = 2) -> None:
        super().__init__()
        self.k = k

    def _places(self, x: Array) -> list[Array]:
        """The k² views of x [C, H, W, N] that hold the window's first place, its second, … in row-major order."""
        k = self.k
        _, height, width, _ = x.shape
        x = x[:, : height // k * k, : width // k * k]
        return [x[:, i::k, j::k] for i in range(k) for j in range(k)]


class MaxPool(_Pool):
    """The largest value of each k×k window."""

    def forward(self, x: Array, training: bool) -> Array:
        """x [C, H, W, N] -> y [C, H//k, W//k, N]."""
        places = self._places(x)
        y = places[0].copy()
        for place in places[1:]:
            np.maximum(y, place, out=y)
        if training:
            self.x, self.y = x, y
        return y

    def input_gradient(self, dy: Array) -> Array:
        """y is one of its window's values, so that one has the gradient dy, and the others have none.

        Equal maxima: the first in row-major order takes it all, as in Paddle.
        The NumPy report repeats dy 2×2 whatever the size of its windows; here they may have any size.
        """
        dx = np.zeros_like(self.x)
        open_windows = np.ones(dy.shape, dtype=bool)
        for x, d in zip(self._places(self.x), self._places(dx), strict=True):
            chosen = (x == self.y) & open_windows
            np.multiply(dy, chosen, out=d)
            open_windows ^= chosen
        return dx


class MeanPool(_Pool):
    """The mean of each k×k window."""

    def forward(self, x: Array, training: bool) -> Array:
        """x [C, H, W, N] -> y [C, H//k, W//k, N]."""
        self.x_shape = x.shape
        first, *rest = self._places(x)
        y = first.copy()
        for place in rest:
            y += place
        y /= self.k**2
        return y

    def input_gradient(self, dy: Array) -> Array:
        """y = Σ x / k² over the window, so each of its places has the gradient dy / k²."""
        dx = np.zeros(self.x_shape, dy.dtype)
        share = dy / self.k**2
        for place in self._places(dx):
            place[...] = share
        return dx


class BatchNorm(Layer):
    """Batch normalisation per channel: y = weight · x̂ + bias, x̂ = (x - mean) / √(variance + 1e-5).

    Training takes mean and variance (divided by the count, not by count - 1) over the batch and all places. It moves
    the running ones by a tenth towards them; evaluation takes the running ones. All of it as in paddle.nn.BatchNorm2D.

    Args:
        weight: [C], the scale.
        bias: [C], the shift.
    """

    momentum = 0.9
    epsilon = 1e-5

    def __init__(self, weight: Array, bias: Array) -> None:
        super().__init__()
        self.parameters = {"weight": weight, "bias": bias}
        self.statistics = {"_mean": np.zeros_like(bias), "_variance": np.ones_like(weight)}

    def forward(self, x: Array, training: bool) -> Array:
        """x [C, H, W, N] -> y of the same shape."""
        weight, bias = self.parameters["weight"], self.parameters["bias"]
        flat = x.reshape(len(weight), -1)
        if not training:
            scale = weight / np.sqrt(self.statistics["_variance"] + self.epsilon)
            shift = bias - scale * self.statistics["_mean"]
            return (flat * scale[:, np.newaxis] + shift[:, np.newaxis]).reshape(x.shape)
        mean = flat.mean(axis=1, keepdims=True)
        normal = flat - mean
        variance = np.mean(np.square(normal), axis=1, keepdims=True)
        for name, now in (("_mean", mean), ("_variance", variance)):
            running = self.statistics[name]
            running *= self.momentum
            running += (1 - self.momentum) * now[:, 0]
        self.deviation = np.sqrt(variance + self.epsilon)
        normal /= self.deviation
        self.normal = normal
        return (normal * weight[:, np.newaxis] + bias[:, np.newaxis]).reshape(x.shape)

    def parameter_gradients(self, dy: Array) -> dict[str, Array]:
        """dweight = Σ dy · x̂ and dbias = Σ dy, over places and images."""
        dy = dy.reshape(self.normal.shape)
        return {"weight": np.einsum("cm,cm->c", dy, self.normal), "bias": dy.sum(axis=1)}

    def input_gradient(self, dy: Array) -> Array:
        """Each x moves its own x̂, and through mean and variance all others of its channel.

        With m values a channel, ∂x̂_b/∂x_a = ([a = b] - 1/m - x̂_a · x̂_b / m) / deviation. The sum over b gives

            dx = weight / deviation · (dy - mean(dy) - x̂ · mean(dy · x̂)).
        """
        weight = self.parameters["weight"][:, np.newaxis]
        flat = dy.reshape(self.normal.shape)
        slope = np.einsum("cm,cm->c", flat, self.normal)[:, np.newaxis] / flat.shape[1]
        dx = self.normal * -slope
        dx += flat
        dx -= flat.mean(axis=1, keepdims=True)
        dx *= weight / self.deviation
        return dx.reshape(dy.shape)


class FullyConnected(Layer):
    """y = weightᵀ · x + bias for each image; feature maps are taken as vectors in the order c, h, w.

    Args:
        weight: [D_in, D_out].
        bias: [D_out].
    """

    def __init__(self, weight: Array, bias: Array) -> None:
        super().__init__()
        self.parameters = {"weight": weight, "bias": bias}

    def forward(self, x: Array, training: bool) -> Array:
        """x [D_in, N] or [C, H, W, N] with C·H·W = D_in -> y [D_out, N]."""
        weight, bias = self.parameters["weight"], self.parameters["bias"]
        flat = x.reshape(len(weight), -1)
        if training:
            self.flat, self.x_shape = flat, x.shape
        y = weight.T @ flat
        y += bias[:, np.newaxis]
        return y

    def parameter_gradients(self, dy: Array) -> dict[str, Array]:
        """y[q] = Σ_p weight[p, q] · x[p] + bias[q], so dweight = x · dyᵀ and dbias = Σ dy, both summed over images."""
        return {"weight": self.flat @ dy.T, "bias": dy.sum(axis=1)}

    def input_gradient(self, dy: Array) -> Array:
        """dx[p] = Σ_q weight[p, q] · dy[q], in the shape that x had."""
        return (self.parameters["weight"] @ dy).reshape(self.x_shape)


class ReLU(Layer):
    """y = max(x, 0)."""

    def forward(self, x: Array, training: bool) -> Array:
        """x of any shape -> y of the same."""
        self.y = np.maximum(x, 0)
        return self.y

    def input_gradient(self, dy: Array) -> Array:
        """dx = dy where x > 0, and 0 elsewhere, x = 0 included."""
        return dy * (self.y > 0)


class Tanh(Layer):
    """y = tanh(x)."""

    def forward(self, x: Array, training: bool) -> Array:
        """x of any shape -> y of the same."""
        self.y = np.tanh(x)
        return self.y

    def input_gradient(self, dy: Array) -> Array:
        """tanh' = 1 - tanh², so dx = dy · (1 - y²)."""
        return dy * (1 - np.square(self.y))


def log_softmax(logits: Array) -> Array:
    """Log-probabilities [K, N] = logits - log Σ e^logits, the sum over the classes; logits [K, N].

    The largest logit is taken off first, which changes nothing but that no exponential overflows.
    """
    centred = logits - logits.max(axis=0)
    return centred - np.log(np.exp(centred).sum(axis=0))


def cross_entropy(logits: Array, labels: Array) -> tuple[float, Array]:
    """Mean loss over the images, -log softmax(logits)[label], and the gradient of the **summed** loss by the logits.

    ∂(-log softmax(z)[label]) / ∂z[q] = softmax(z)[q] - [q = label]. Divided by N it is the gradient of the mean loss;
    as it stands the NumPy report trains with it: its `SoftmaxLoss` returns the mean loss and the summed gradient.
    No logarithm of a probability that has become 0 is ever taken, for which the document puts a loss of 500.

    Args:
        logits: [K, N].
        labels: [N], integers in 0 … K-1.
    """
    images = np.arange(len(labels))
    log_probabilities = log_softmax(logits)
    gradient = np.exp(log_probabilities)
    gradient[labels, images] -= 1
    return -float(log_probabilities[labels, images].mean(dtype=np.float64)), gradient
