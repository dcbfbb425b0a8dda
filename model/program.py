"""Network + recipe -> static programs: one that trains, one that evaluates, one that is saved.

A program is a value. Nothing here touches Paddle's default programs: each is built under `program_guard`, and under a
`unique_name.guard` of its own, which restarts the numbering of names. So the same layers get the same parameter names
in every program, and share their values in the scope. Evaluation programs are built, not cloned: Paddle 3 has no
`clone(for_test=True)`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import paddle
from paddle import static

from model.networks import Network, build_network
from model.ops.backend import Backend, backend
from model.ops.loss import append_to_recent
from model.ops.optimizer import minimize, move_averages, variable
from model.recipes import Recipe


@dataclass(frozen=True)
class NetworkConfig:
    """Which network, and how it is built.

    Attributes:
        name: a key of `model.networks.NETWORKS`.
        options: keyword arguments of its class (maps, kernel_size, pooling …).
        backend: of the training and evaluation programs.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    backend: Backend = "stock"


@dataclass(frozen=True)
class Program:
    """A static program, ready for an Executor.

    Attributes:
        main: the program itself.
        startup: initialises the parameters (and the optimizer's state).
        feeds: input variables by name.
        fetches: output variables by name.
        parameters: name in the network ("conv1.weight") -> name in the scope ("conv_pool_0.w_0"); the running
            statistics of batch normalisation are among them.
        trainable: how many numbers the optimizer may change.
    """

    main: static.Program
    startup: static.Program
    feeds: Mapping[str, paddle.Tensor]
    fetches: Mapping[str, paddle.Tensor]
    parameters: Mapping[str, str]
    trainable: int


def training_program(config: NetworkConfig, recipe: Recipe) -> Program:
    """Build the program that takes one step: feeds `image` [N, 1, S, S] float32 and `label` [N] int64.

    It fetches nothing, so that a GPU never waits for the host. The scope's variable `RECENT` gets the batch's mean
    negative log-probability in nats, labels not smoothed, and its right answers, both before the step's update. The
    learning rate is the scope's variable `LEARNING_RATE`, to be set before a step.
    """
    with program_of(config) as (programs, network, image):
        label = static.data("label", network.image.label_shape, "int64")
        loss, row = network.loss(network(image), label, recipe.label_smoothing)
        append_to_recent(variable(RECENT, [REMEMBERED_STEPS, 2], 0.0), row)
        minimize(loss, network.decayed(), recipe)
        average(network, recipe)
        return value_of(programs, network, [image, label], {})


def average(network: Network, recipe: Recipe) -> None:
    """Append the step of the moving averages, if the recipe has any.

    Running statistics of batch normalisation, which no gradient changes, are averaged too.
    """
    if recipe.ema:
        values = network.parameters()
        averages = [variable(value.name + AVERAGE, value.shape, 0.0) for value in values]
        move_averages(averages, values, variable(AVERAGED, [1], 0.0), recipe.ema)


def evaluation_program(config: NetworkConfig) -> Program:
    """Build the program that scores images: feeds `image`, fetches `log_probability` [N, classes]; changes nothing."""
    with program_of(config) as (programs, network, image):
        network.eval()
        return value_of(programs, network, [image], {"log_probability": network.log_probability(network(image))})


def inference_program(config: NetworkConfig) -> Program:
    """Build the program that is saved: feeds `image`, fetches `probability` [N, classes]; stock operators only.

    It is built under Paddle's old intermediate representation, because a model file of that form is read by Paddle
    2.6 and 3 alike.
    """
    with old_representation(), program_of(replace(config, backend="stock")) as (programs, network, image):
        network.eval()
        return value_of(programs, network, [image], {"probability": network.probability(network(image))})


def layers_program(config: NetworkConfig) -> Program:
    """Build the program of feature maps: feeds `image`, fetches the output of every layer by its name.

    It is built under the old intermediate representation, as saved models are, whose parameters it can read.
    """
    with old_representation(), program_of(replace(config, backend="stock")) as (programs, network, image):
        network.eval()
        outputs: dict[str, paddle.Tensor] = {}
        for inner, layer in network.named_sublayers():

            def record(_layer: object, _inputs: object, output: paddle.Tensor, inner: str = inner) -> None:
                outputs[inner] = output

            layer.register_forward_post_hook(record)
        network(image)
        return value_of(programs, network, [image], outputs)


# Paddle 2.6 knows only the old intermediate representation and has no such guard.
old_representation = getattr(getattr(paddle, "pir_utils", None), "OldIrGuard", nullcontext)

RECENT = "recent"  # [REMEMBERED_STEPS, 2]: loss and right answers of the latest steps, the newest last
REMEMBERED_STEPS = 32

AVERAGE = "_average"  # suffix of the variables that hold the moving averages of the parameters
AVERAGED = "averaged"  # [1]: how many steps have moved them


@contextmanager
def program_of(
    config: NetworkConfig, feed: bool = True
) -> Iterator[tuple[tuple[static.Program, static.Program], Network, paddle.Tensor]]:
    """Two new programs, main and startup, a network in them, and the image that it takes; without `feed`, None.

    Inside the block, operators are appended to them, those of the network's backend.
    """
    programs = static.Program(), static.Program()
    with static.program_guard(*programs), paddle.utils.unique_name.guard(), backend(config.backend):
        network = build_network(config.name, config.options)
        image = static.data("image", network.image.shape, "float32") if feed else None
        yield programs, network, image


def value_of(
    programs: tuple[static.Program, static.Program],
    network: Network,
    feeds: list[paddle.Tensor],
    fetches: dict[str, paddle.Tensor],
) -> Program:
    """The `Program` of main and startup programs in which the network was built."""
    parameters = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    return Program(
        main=programs[0],
        startup=programs[1],
        feeds=MappingProxyType({variable.name: variable for variable in feeds}),
        fetches=MappingProxyType(fetches),
        parameters=MappingProxyType({inner: variable.name for inner, variable in parameters.items()}),
        trainable=sum(math.prod(p.shape) for p in network.parameters() if not p.stop_gradient),
    )
