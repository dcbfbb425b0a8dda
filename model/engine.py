"""An Executor, a scope, and the programs of one network: what training runs on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import paddle

from common.errors import UserError
from model.device import Device
from model.program import (
    AVERAGE,
    RECENT,
    REMEMBERED_STEPS,
    NetworkChoice,
    Program,
    evaluation_program,
    inference_program,
    old_representation,
    training_program,
)
from model.recipes import Recipe
from model.repeated_run import repeated_run
from model.step.update import LEARNING_RATE


class PaddleEngine:
    """Trains and scores one network by Paddle's static programs.

    All values (parameters, running statistics, optimizer state) live in scopes of its own, so that engines do not see
    each other. Parameters start from `paddle.seed(seed)`; never `Program.random_seed`, which would give equal layers
    equal weights.

    Where the recipe averages the weights, the averages are what is scored, returned as parameters, and saved.
    """

    def __init__(self, choice: NetworkChoice, recipe: Recipe, device: Device, seed: int) -> None:
        self.training = training_program(choice, recipe)
        self._values = Values(self.training, device.place)
        self._learning_rate = recipe.learning_rate
        paddle.seed(seed)
        self._values.initialise()
        # Parameter by its name in the network -> the variable that is scored.
        suffix = AVERAGE if recipe.ema else ""
        self._scored = {inner: name + suffix for inner, name in self.training.parameters.items()}
        if recipe.ema:
            self.load_parameters({i: self._values.get(name) for i, name in self.training.parameters.items()})

        self._evaluation = Values(evaluation_program(choice), device.place)
        self._evaluation.initialise()
        self._evaluation_is_current = False

    @property
    def trainable(self) -> int:
        """How many numbers the optimizer may change."""
        return self.training.trainable

    def train_step(self, images: np.ndarray, labels: np.ndarray, learning_rate: float) -> None:
        """Take one step on images [N, 1, S, S] float32 and labels [N] int64; `recent` tells how it went."""
        if learning_rate != self._learning_rate:
            self._values.set(LEARNING_RATE, np.float32(learning_rate))
            self._learning_rate = learning_rate
        self._values.run({"image": images, "label": labels})
        self._evaluation_is_current = False

    def recent(self, steps: int) -> np.ndarray:
        """Mean loss (nats) and accuracy (fraction) of the last `steps` batches, oldest first, [steps, 2] float32.

        It waits for the device; at most `REMEMBERED_STEPS` are remembered.
        """
        return self._values.get(RECENT)[REMEMBERED_STEPS - steps :]

    def log_probabilities(self, images: np.ndarray) -> np.ndarray:
        """Natural logarithm of each digit's probability, [N, 10] float32, of images [N, 1, S, S] float32."""
        if not self._evaluation_is_current:
            self._evaluation.set_parameters(self.parameters())
            self._evaluation_is_current = True
        return self._evaluation.run({"image": images})[0]

    def state(self) -> dict[str, np.ndarray]:
        """Everything that a later step depends on, by the names of Paddle's variables, sorted; copies."""
        return self._values.state()

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from what `state` returned.

        Raises:
            UserError: the names or shapes are not those of this network and optimizer; nothing is replaced.
        """
        _expect_alike("state", self.state(), state)
        for name, value in state.items():
            self._values.set(name, value)
        self._learning_rate = float(state[LEARNING_RATE].item())
        self._evaluation_is_current = False

    def parameters(self) -> dict[str, np.ndarray]:
        """Parameters and running statistics that are scored, by their names in the network ("conv1.weight"); copies."""
        return {inner: self._values.get(name) for inner, name in self._scored.items()}

    def load_parameters(self, parameters: Mapping[str, np.ndarray]) -> None:
        """Replace all parameters and running statistics, and their averages; the optimizer's state stays.

        Raises:
            UserError: names or shapes are not those of this network; nothing is replaced.
        """
        _expect_alike("parameters", self.parameters(), parameters)
        for inner, value in parameters.items():
            self._values.set(self.training.parameters[inner], value)
            self._values.set(self._scored[inner], value)
        self._evaluation_is_current = False


class Exporter:
    """Makes the files of an inference model out of a network's parameters, whichever engine trained them."""

    def __init__(self, choice: NetworkChoice) -> None:
        self._values = Values(inference_program(choice), paddle.CPUPlace())
        with old_representation():
            self._values.initialise()

    def files(self, parameters: Mapping[str, np.ndarray]) -> tuple[bytes, bytes]:
        """The inference program and its parameters, in the format that Paddle 2.6 and 3 both read.

        Args:
            parameters: by their names in the network, from an engine's `parameters`.
        """
        self._values.set_parameters(parameters)
        program = self._values.program
        feeds, fetches = list(program.feeds.values()), list(program.fetches.values())
        with old_representation(), paddle.static.scope_guard(self._values.scope):
            normal = paddle.static.normalize_program(program.main, feeds, fetches)
            for operator in normal.global_block().ops:
                # Where it was built, line by line: paths of this machine, and four fifths of the file.
                operator.desc.remove_attr("op_callstack")
            parameters_file = paddle.static.serialize_persistables(
                feeds, fetches, self._values.executor, program=program.main
            )
            return normal.desc.serialize_to_string(), parameters_file


class Values:
    """A program, a scope with the values of its variables, and the executor that runs it there.

    Attributes:
        run: runs the program once; takes the feed, returns the fetches in order.
    """

    def __init__(self, program: Program, place: object) -> None:
        self.program = program
        self.scope = paddle.static.Scope()
        self.executor = paddle.static.Executor(place)
        self._place = place
        self.run = repeated_run(self.executor, program.main, list(program.fetches.values()), self.scope)

    def initialise(self) -> None:
        """Run the startup program."""
        self.executor.run(self.program.startup, scope=self.scope)

    def get(self, name: str) -> np.ndarray:
        """A copy of a variable."""
        return np.array(self.scope.find_var(name).get_tensor())

    def set(self, name: str, value: np.ndarray | np.float32) -> None:
        """Give a variable another value."""
        tensor = self.scope.find_var(name).get_tensor()
        tensor.set(np.asarray(value).reshape(tensor.shape()), self._place)

    def set_parameters(self, parameters: Mapping[str, np.ndarray]) -> None:
        """Set parameters by their names in the network."""
        for inner, value in parameters.items():
            self.set(self.program.parameters[inner], value)

    def state(self) -> dict[str, np.ndarray]:
        """All values that outlive a run of the program, sorted by name; copies."""
        state = self.program.main.state_dict(mode="all", scope=self.scope)
        return {name: np.array(tensor) for name, tensor in sorted(state.items())}


def _expect_alike(what: str, own: Mapping[str, np.ndarray], given: Mapping[str, np.ndarray]) -> None:
    for name in sorted(own.keys() | given.keys()):
        expected = f"{own[name].dtype}{list(own[name].shape)}" if name in own else "no such array"
        got = f"{given[name].dtype}{list(np.shape(given[name]))}" if name in given else "no such array"
        if expected != got:
            raise UserError(f"{what} of another network or optimizer: {name}: expected {expected}, got {got}")
