"""From a loss to changed parameters, and their moving averages."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import paddle
from paddle import static
from paddle.nn.initializer import Constant

from model.ops.backend import is_fused
from model.ops.custom_op import fused_op
from model.ops.shard_row import pieces
from model.recipes import Recipe

LEARNING_RATE = "learning_rate_0"  # the name that Paddle gives to the learning rate of a program's first optimizer

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # Kingma and Ba 2015; Paddle's defaults


def minimize(loss: paddle.Tensor, decayed: Collection[str], recipe: Recipe) -> None:
    """Append the backward pass and the recipe's update of all trainable parameters.

    The learning rate is the variable `LEARNING_RATE`. The optimizer's state has the same names and shapes whichever
    backend is used, so that a run can go on with the other.

    Args:
        loss: to be minimised.
        decayed: names of the parameters that adamw decays.
        recipe: for the optimizer.
    """
    if is_fused() and recipe.optimizer in ("adam", "adamw"):
        found = [(parameter, gradient) for parameter, gradient in static.append_backward(loss) if gradient is not None]
        _fused_adam([parameter for parameter, _ in found], [gradient for _, gradient in found], decayed, recipe)
    else:
        _optimizer(decayed, recipe).minimize(loss)


def apply_gradients(
    parameters: Sequence[paddle.Tensor], gradients: paddle.Tensor, decayed: Collection[str], recipe: Recipe
) -> None:
    """Append the recipe's update of parameters by `gradients` [n], one after the other; see `minimize`."""
    if is_fused() and recipe.optimizer in ("adam", "adamw"):
        _fused_adam(parameters, [gradients], decayed, recipe)
    else:
        found = list(zip(parameters, pieces(gradients, parameters), strict=True))
        _optimizer(decayed, recipe).apply_gradients(found)


def _optimizer(decayed: Collection[str], recipe: Recipe) -> paddle.optimizer.Optimizer:
    if recipe.optimizer == "adam":
        return paddle.optimizer.Adam(recipe.learning_rate, BETA1, BETA2, EPSILON)
    if recipe.optimizer == "adamw":
        return paddle.optimizer.AdamW(
            recipe.learning_rate,
            BETA1,
            BETA2,
            EPSILON,
            weight_decay=recipe.weight_decay,
            apply_decay_param_fun=decayed.__contains__,
        )
    if recipe.optimizer == "momentum":
        return paddle.optimizer.Momentum(recipe.learning_rate, recipe.momentum)
    return paddle.optimizer.SGD(recipe.learning_rate)


def _fused_adam(
    parameters: Sequence[paddle.Tensor], gradients: Sequence[paddle.Tensor], decayed: Collection[str], recipe: Recipe
) -> None:
    """Append Adam; gradients are as many as the parameters, or a single array, one after the other."""

    def state(suffix: str, value: float, single: bool = False) -> list[paddle.Tensor]:
        return [variable(p.name + suffix, [1] if single else p.shape, value) for p in parameters]

    fused_op(
        "fused_adam_step",  # "fused_adam" is one of Paddle 2.6
        {
            "Param": parameters,
            "Moment1": state("_moment1_0", 0.0),
            "Moment2": state("_moment2_0", 0.0),
            "Power1": state("_beta1_pow_acc_0", BETA1, single=True),
            "Power2": state("_beta2_pow_acc_0", BETA2, single=True),
            "Grad": gradients,
            "LearningRate": variable(LEARNING_RATE, [], recipe.learning_rate),
        },
        attributes={
            "beta1": BETA1,
            "beta2": BETA2,
            "epsilon": EPSILON,
            "decay": [recipe.weight_decay if parameter.name in decayed else 0.0 for parameter in parameters],
        },
        in_place=["Param", "Moment1", "Moment2", "Power1", "Power2"],
    )


def move_averages(
    averages: Sequence[paddle.Tensor],
    values: Sequence[paddle.Tensor],
    updates: paddle.Tensor,
    decay: float,
) -> None:
    """Move each average towards its value, by 1 - `decay` of the way; by 9 / (9 + t), as long as that is more.

    t counts the updates: while they are few, the average soon forgets the random weights that it started from, as in
    TensorFlow's tf.train.ExponentialMovingAverage with `num_updates`.

    Args:
        averages: variables that outlive a step.
        values: what they follow.
        updates: [1], such a variable too: how many there have been, 0 at first.
        decay: 0 to less than 1.
    """
    if is_fused():
        fused_op(
            "fused_average",
            {"Average": averages, "Value": values, "Updates": updates},
            attributes={"decay": decay},
            in_place=["Average", "Updates"],
        )
        return
    paddle.assign(updates + 1, output=updates)
    rate = paddle.clip(9 / (9 + updates), min=1 - decay)
    for average, value in zip(averages, values, strict=True):
        # Not average * decay + value * rate: these factors, rounded, do not add up to 1. At 0.998, the average of a
        # constant would be 1.3e-5 too large.
        paddle.assign(average + (value - average) * rate, output=average)


def variable(name: str, shape: Sequence[int], value: float) -> paddle.Tensor:
    """A float32 variable that outlives a step and that no gradient changes."""
    made = static.create_parameter(list(shape), "float32", name, default_initializer=Constant(value))
    made.stop_gradient = True
    made.trainable = False
    return made
