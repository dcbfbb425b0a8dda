"""The feature maps of an image: the output of each layer, through a static program that fetches them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import paddle
from paddle import static

from common.errors import one_line
from model.engine import Session
from model.networks import NETWORKS, check_options
from model.program import NetworkConfig, layers_program, old_representation
from model.saved_model import ModelError, SavedModel


class FeatureMaps:
    """A network that gives each layer's output; built from a run's parameters, or from a saved model."""

    def __init__(self, config: NetworkConfig, parameters: Mapping[str, np.ndarray]) -> None:
        """Create it.

        Args:
            config: the network.
            parameters: by their names in the network, from an engine's `parameters`.
        """
        self._create(config, lambda: self._session.set_parameters(parameters))

    @classmethod
    def of_model(cls, model: SavedModel) -> FeatureMaps:
        """The layers of a saved model.

        Raises:
            ModelError: its card names no network of this project, or the parameters are another network's.
        """
        name, options = model.card.get("network"), model.card.get("options")
        if name not in NETWORKS or not isinstance(options, dict):
            raise ModelError(
                f"{model.folder}: expected a network of this project in card.json, got {one_line(name, 60)}"
            )
        options = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
        maps = cls.__new__(cls)
        try:
            check_options(name, {key: value for key, value in options.items() if value is not None})
            maps._create(NetworkConfig(name, options), lambda: maps._deserialise(model.parameters))
        except Exception as error:  # a card that does not fit its parameters makes Paddle raise whatever it finds first
            raise ModelError(
                f"{model.folder}: expected the parameters of {name}, got others: {one_line(error, 120)}"
            ) from error
        return maps

    def _create(self, config: NetworkConfig, fill: Callable[[], None]) -> None:
        self._session = Session(layers_program(config), paddle.CPUPlace())
        with old_representation():
            self._session.initialise()
            fill()

    def _deserialise(self, parameters: bytes) -> None:
        with static.scope_guard(self._session.scope):
            static.deserialize_persistables(self._session.program.main, parameters, self._session.executor)

    def parameters(self) -> dict[str, np.ndarray]:
        """Parameters and running statistics by their names in the network ("conv1.weight"); copies."""
        return {inner: self._session.get(name) for inner, name in self._session.program.parameters.items()}

    def of(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Output of each layer by its name in the network, in the order in which an image goes through them.

        Args:
            images: [N, 1, S, S] float32 in the network's pixel range.

        Returns:
            [N, maps, H, W] float32 of a layer of maps, [N, units] of another.
        """
        program = self._session.program
        with old_representation():
            outputs = self._session.executor.run(
                program.main,
                feed={"image": images},
                fetch_list=list(program.fetches.values()),
                scope=self._session.scope,
            )
        return dict(zip(program.fetches, outputs, strict=True))
