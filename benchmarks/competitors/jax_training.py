"""JAX: one jitted step with Optax's Adam, its state donated."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax

from benchmarks.competitors.conv_pool_bn import STATISTICS, TRAINED
from benchmarks.protocol import Batch, Batches, initial, options, serve, versions


def conv_pool(x: Array, weight: Array, bias: Array) -> Array:
    """Convolution, bias, ReLU, 2×2 max-pooling."""
    x = lax.conv_general_dilated(x, weight, (1, 1), "VALID") + bias[:, None, None]
    return lax.reduce_window(jnp.maximum(x, 0), -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")


def loss_of(p: dict[str, Array], statistics: dict[str, Array], images: Array, labels: Array) -> tuple[Array, dict]:
    """Mean negative log-probability of the labels, and batch norm's new running statistics."""
    x = conv_pool(images, p["conv1.weight"], p["conv1.bias"])
    mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3))
    new = {"norm._mean": mean, "norm._variance": variance}
    statistics = jax.tree.map(lambda old, now: 0.9 * old + 0.1 * now, statistics, new)
    scale = p["norm.weight"] * lax.rsqrt(variance + 1e-5)
    x = (x - mean[:, None, None]) * scale[:, None, None] + p["norm.bias"][:, None, None]
    x = conv_pool(x, p["conv2.weight"], p["conv2.bias"])
    scores = x.reshape(len(x), -1) @ p["output.weight"] + p["output.bias"]
    return optax.softmax_cross_entropy_with_integer_labels(scores, labels).mean(), statistics


def main() -> None:
    """Initialise and serve."""
    assert options["network"] == "conv_pool_bn"
    adam = optax.adam(1e-3)
    parameters = {name: jnp.asarray(initial(name, shape)) for name, shape in TRAINED.items()}
    statistics = {name: jnp.asarray(initial(name, shape)) for name, shape in STATISTICS.items()}
    state = parameters, statistics, adam.init(parameters)

    def step(state: tuple, images: Array, labels: Array) -> tuple[tuple, Array]:
        parameters, statistics, moments = state
        (loss, statistics), gradient = jax.value_and_grad(loss_of, has_aux=True)(parameters, statistics, images, labels)
        updates, moments = adam.update(gradient, moments)
        return (optax.apply_updates(parameters, updates), statistics, moments), loss

    jitted = jax.jit(step, donate_argnums=0)

    def run(batches: list[Batch]) -> float:
        nonlocal state
        for images, labels in batches:
            state, loss = jitted(state, images, labels)
        return float(loss)  # waits for the last step

    serve(run, Batches(), versions=versions("jax", "optax"))


if __name__ == "__main__":
    main()
