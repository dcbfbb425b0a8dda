"""Keras: a Sequential model and `fit`, on the backend that KERAS_BACKEND names."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers

from benchmarks.protocol import Batch, Batches, initial, options, serve, versions


def main() -> None:
    """Build the model and serve."""
    assert options["network"] == "conv_pool_bn"
    keras.config.set_image_data_format("channels_last")
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(20, 5, activation="relu", name="conv1"),
            layers.MaxPooling2D(),
            layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name="norm"),
            layers.Conv2D(50, 5, activation="relu", name="conv2"),
            layers.MaxPooling2D(),
            layers.Permute((3, 1, 2)),  # the order of the dense layer's inputs in all other competitors
            layers.Flatten(),
            layers.Dense(10, name="output"),
        ]
    )
    for name in ("conv1", "conv2"):
        kernel, bias = (variable.shape for variable in model.get_layer(name).weights)
        oihw = initial(f"{name}.weight", (kernel[3], kernel[2], *kernel[:2]))
        model.get_layer(name).set_weights([oihw.transpose(2, 3, 1, 0), initial(f"{name}.bias", bias)])
    names = ("weight", "bias", "_mean", "_variance")
    model.get_layer("norm").set_weights([initial(f"norm.{name}", (20,)) for name in names])
    model.get_layer("output").set_weights([initial("output.weight", (800, 10)), initial("output.bias", (10,))])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3, epsilon=1e-8), loss)

    def prepare(batch: int, steps: int) -> tuple[np.ndarray, np.ndarray, int]:
        made: list[Batch] = batches(batch, steps)
        images = np.concatenate([images for images, _ in made]).transpose(0, 2, 3, 1)
        return np.ascontiguousarray(images), np.concatenate([labels for _, labels in made]), batch

    def run(material: tuple[np.ndarray, np.ndarray, int]) -> float:
        images, labels, batch = material
        history = model.fit(images, labels, batch, epochs=1, shuffle=False, verbose=0)
        return history.history["loss"][0]

    batches = Batches()
    serve(run, prepare, versions=versions("keras", keras.backend.backend()))


if __name__ == "__main__":
    main()
