"""An Executor, a scope, and the programs of one network: what training runs on."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import paddle
from paddle import static

from common.errors import UserError
from model.device import Device
from model.ops.optimizer import LEARNING_RATE
from model.program import (
    AVERAGE,
    RECENT,
    REMEMBERED_STEPS,
    NetworkConfig,
    Program,
    evaluation_program,
    inference_program,
    old_representation,
    training_program,
)
from model.recipes import Recipe


class PaddleEngine:
    """Trains and scores one network by Paddle's static programs.

    All values (parameters, running statistics, optimizer state) live in scopes of its own, so that engines do not see
    each other. Parameters start from `paddle.seed(seed)`; never `Program.random_seed`, which would give equal layers
    equal weights.

    If the recipe averages the weights, the averages are scored, returned as parameters, and saved.
    """

    def __init__(
        self, config: NetworkConfig, recipe: Recipe, device: Device, seed: int, training: Program | None = None
    ) -> None:
        self.training = training or training_program(config, recipe)
        self._session = Session(self.training, device.place)
        self._learning_rate = recipe.learning_rate
        paddle.seed(seed)
        self._session.initialise()
        # Parameter by its name in the network -> the variable that is scored.
        suffix = AVERAGE if recipe.ema else ""
        self._scored = {inner: name + suffix for inner, name in self.training.parameters.items()}
        if recipe.ema:
            self.load_parameters({i: self._session.get(name) for i, name in self.training.parameters.items()})

        self._evaluation = Session(evaluation_program(config), device.place)
        self._evaluation.initialise()
        self._evaluation_is_current = False

    @property
    def trainable(self) -> int:
        """Number of values that the optimizer may change."""
        return self.training.trainable

    def train_step(self, images: np.ndarray, labels: np.ndarray, learning_rate: float) -> None:
        """Take one step on images [N, 1, S, S] float32 and labels [N] int64; `recent` has its loss."""
        self._set_learning_rate(learning_rate)
        self._session.run({"image": images, "label": labels})
        self._evaluation_is_current = False

    def _set_learning_rate(self, learning_rate: float) -> None:
        if learning_rate != self._learning_rate:
            self._session.set(LEARNING_RATE, np.float32(learning_rate))
            self._learning_rate = learning_rate

    def recent(self, steps: int) -> np.ndarray:
        """Mean loss (nats) and number of right answers of the last `steps` batches, oldest first, [steps, 2] float32.

        It waits for the device; at most `REMEMBERED_STEPS` are remembered.
        """
        return self._session.get(RECENT)[REMEMBERED_STEPS - steps :]

    def log_probabilities(self, images: np.ndarray) -> np.ndarray:
        """Natural logarithm of each class's probability, [N, classes] float32, of images [N, 1, S, S] float32."""
        if not self._evaluation_is_current:
            self._evaluation.set_parameters(self.parameters())
            self._evaluation_is_current = True
        return self._evaluation.run({"image": images})[0]

    def state(self) -> dict[str, np.ndarray]:
        """Everything that a later step depends on, by the names of Paddle's variables, sorted; copies."""
        return self._session.state()

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from what `state` returned.

        Raises:
            UserError: the names or shapes are not those of this network and optimizer; nothing is replaced.
        """
        _expect_alike("state", self.state(), state)
        for name, value in state.items():
            self._session.set(name, value)
        self._learning_rate = float(state[LEARNING_RATE].item())
        self._evaluation_is_current = False

    def parameters(self) -> dict[str, np.ndarray]:
        """Parameters and running statistics that are scored, by their names in the network ("conv1.weight"); copies."""
        return {inner: self._session.get(name) for inner, name in self._scored.items()}

    def load_parameters(self, parameters: Mapping[str, np.ndarray]) -> None:
        """Replace all parameters and running statistics, and their averages; the optimizer's state stays.

        Raises:
            UserError: names or shapes are not those of this network; nothing is replaced.
        """
        _expect_alike("parameters", self.parameters(), parameters)
        for inner, value in parameters.items():
            self._session.set(self.training.parameters[inner], value)
            self._session.set(self._scored[inner], value)
        self._evaluation_is_current = False


class Exporter:
    """Makes the files of an inference model out of a network's parameters, whichever engine trained them."""

    def __init__(self, config: NetworkConfig) -> None:
        self._session = Session(inference_program(config), paddle.CPUPlace())
        with old_representation():
            self._session.initialise()

    def files(self, parameters: Mapping[str, np.ndarray]) -> tuple[bytes, bytes]:
        """The inference program and its parameters, in the format that Paddle 2.6 and 3 both read.

        Args:
            parameters: by their names in the network, from an engine's `parameters`.
        """
        self._session.set_parameters(parameters)
        program = self._session.program
        feeds, fetches = list(program.feeds.values()), list(program.fetches.values())
        with old_representation(), paddle.static.scope_guard(self._session.scope):
            normal = paddle.static.normalize_program(program.main, feeds, fetches)
            for operator in normal.global_block().ops:
                # The Python stack that built it: paths of this machine, and four fifths of the file.
                operator.desc.remove_attr("op_callstack")
            parameters_file = paddle.static.serialize_persistables(
                feeds, fetches, self._session.executor, program=program.main
            )
            return normal.desc.serialize_to_string(), parameters_file


class Session:
    """A program, a scope with the values of its variables, and the executor that runs it there.

    Attributes:
        run: runs the program once; takes the feed, returns the fetches in order.
    """

    def __init__(self, program: Program, place: object, scope: Any = None) -> None:
        self.program = program
        self.scope = scope or paddle.static.Scope()
        self.executor = paddle.static.Executor(place)
        self._place = place
        self.run = repeated_run(self.executor, program.main, list(program.fetches.values()), self.scope)
        if scope is None:
            free_with(self.run, self.scope)  # which may outlive this object

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


Feed = dict[str, np.ndarray]


def free_with(owner: object, scope: Any) -> None:
    """Free a scope with its last user; Paddle itself keeps each, with all its tensors, until the process ends."""
    weakref.finalize(owner, scope._remove_from_pool).atexit = False


Run = Callable[[Feed], list[np.ndarray]]


def repeated_run(executor: static.Executor, main: static.Program, fetches: list[paddle.Tensor], scope: object) -> Run:
    """A function that runs `main` as `executor.run` does; it takes the feed and returns the fetches.

    Paddle 3.3 prints the whole program at every call of `Executor.run`, to find it in a cache: half a millisecond of a
    step of six. Here the cache is asked once, by Paddle's own inner calls. Any other Paddle than 3.3 gets
    `Executor.run` itself.
    """
    inner: tuple | None = None

    def run(feed: Feed) -> list[np.ndarray]:
        nonlocal inner
        if not paddle.__version__.startswith("3.3."):
            return executor.run(main, feed=feed, fetch_list=fetches, scope=scope)
        if inner is None:
            inner = executor._executor_cache.get_pir_program_and_executor(
                main, feed, fetches, "feed", "fetch", executor.place, scope, None
            )
        program, standalone, inputs = inner
        executor._pir_feed_data(program, feed, scope, inputs)
        return standalone.run(list(feed), True)

    return run
