"""An Executor, a scope, and the programs of one network: what training runs on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import paddle

from common.errors import UserError
from model.device import Device
from model.program import (
    LEARNING_RATE,
    RECENT,
    REMEMBERED_STEPS,
    NetworkChoice,
    evaluation_program,
    inference_program,
    old_representation,
    training_program,
)
from model.recipes import Recipe


class PaddleEngine:
    """Trains and scores one network by Paddle's static programs.

    All values (parameters, running statistics, optimizer state) live in a scope of its own, so that engines do not
    see each other. Parameters start from `paddle.seed(seed)`; never `Program.random_seed`, which would give equal
    layers equal weights.
    """

    def __init__(self, choice: NetworkChoice, recipe: Recipe, device: Device, seed: int) -> None:
        self.training = training_program(choice, recipe)
        self.evaluation = evaluation_program(choice)
        self.inference = inference_program(choice)
        self._place = device.place
        self._executor = paddle.static.Executor(device.place)
        self._scope = paddle.static.Scope()
        self._learning_rate = recipe.learning_rate
        paddle.seed(seed)
        self._executor.run(self.training.startup, scope=self._scope)

    def train_step(self, images: np.ndarray, labels: np.ndarray, learning_rate: float) -> None:
        """Take one step on images [N, 1, S, S] float32 and labels [N] int64; `recent` tells how it went."""
        if learning_rate != self._learning_rate:
            self._set(LEARNING_RATE, np.float32(learning_rate))
            self._learning_rate = learning_rate
        self._executor.run(self.training.main, feed={"image": images, "label": labels}, scope=self._scope)

    def recent(self, steps: int) -> np.ndarray:
        """Mean loss (nats) and accuracy (fraction) of the last `steps` batches, oldest first, [steps, 2] float32.

        It waits for the device; at most `REMEMBERED_STEPS` are remembered.
        """
        return self._get(RECENT)[REMEMBERED_STEPS - steps :]

    def log_probabilities(self, images: np.ndarray) -> np.ndarray:
        """Natural logarithm of each digit's probability, [N, 10] float32, of images [N, 1, S, S] float32."""
        (answer,) = self._executor.run(
            self.evaluation.main,
            feed={"image": images},
            fetch_list=[self.evaluation.fetches["log_probability"]],
            scope=self._scope,
        )
        return answer

    def state(self) -> dict[str, np.ndarray]:
        """Everything that a later step depends on, by the names of Paddle's variables, sorted; copies."""
        state = self.training.main.state_dict(mode="all", scope=self._scope)
        return {name: np.array(tensor) for name, tensor in sorted(state.items())}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from what `state` returned.

        Raises:
            UserError: the names or shapes are not those of this network and optimizer.
        """
        own = self.state()
        if own.keys() != state.keys():
            odd = sorted(own.keys() ^ state.keys())
            raise UserError(f"state of another network or optimizer: {odd[0]} and {len(odd) - 1} more do not match")
        for name, value in state.items():
            if own[name].shape != value.shape or own[name].dtype != value.dtype:
                raise UserError(
                    f"state of {name}: expected {own[name].dtype}{list(own[name].shape)}, "
                    f"got {value.dtype}{list(value.shape)}"
                )
            self._set(name, value)
        self._learning_rate = float(state[LEARNING_RATE].item())

    def parameters(self) -> dict[str, np.ndarray]:
        """Parameters and running statistics by their names in the network ("conv1.weight"); copies."""
        return {inner: self._get(name) for inner, name in self.training.parameters.items()}

    def load_parameters(self, parameters: Mapping[str, np.ndarray]) -> None:
        """Replace all parameters and running statistics; the optimizer's state stays.

        Raises:
            UserError: names or shapes are not those of this network.
        """
        own = self.parameters()
        if {n: v.shape for n, v in own.items()} != {n: np.shape(v) for n, v in parameters.items()}:
            raise UserError(f"parameters of another network: expected {sorted(own)}, got {sorted(parameters)}")
        for inner, name in self.training.parameters.items():
            self._set(name, np.asarray(parameters[inner], own[inner].dtype))

    def inference_files(self) -> tuple[bytes, bytes]:
        """The inference program and its parameters as they are now, in the format that Paddle 2.6 and 3 both read."""
        program = self.inference
        feeds, fetches = list(program.feeds.values()), list(program.fetches.values())
        with old_representation(), paddle.static.scope_guard(self._scope):
            normal = paddle.static.normalize_program(program.main, feeds, fetches)
            for operator in normal.global_block().ops:
                # Where it was built, line by line: paths of this machine, and four fifths of the file.
                operator.desc.remove_attr("op_callstack")
            parameters = paddle.static.serialize_persistables(feeds, fetches, self._executor, program=program.main)
            return normal.desc.serialize_to_string(), parameters

    def _get(self, name: str) -> np.ndarray:
        return np.array(self._scope.find_var(name).get_tensor())

    def _set(self, name: str, value: np.ndarray | np.float32) -> None:
        tensor = self._scope.find_var(name).get_tensor()
        tensor.set(np.asarray(value).reshape(tensor.shape()), self._place)
