"""What a network's probabilities are worth: a temperature makes them the share of answers that are right.

They then tell which answers to reject, so that no more than a wanted share of the others is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from common.errors import UserError, one_line


def tempered(log_probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities at a temperature T: p(k) = exp(z(k) / T) / sum over j of exp(z(j) / T).

    T > 1 makes a network less sure, T < 1 surer; the order of its answers stays. Guo et al., "On Calibration of Modern
    Neural Networks" (2017), equation 9, where z are the logits; their log-softmax differs from them by one number an
    image, which cancels.

    Args:
        log_probabilities: [N, 10], natural logarithm.
        temperature: above 0.

    Returns:
        [N, 10] float64.
    """
    scaled = log_probabilities.astype(np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def rejection_threshold(card: Mapping[str, Any], error_rate: float) -> float:
    """The probability below which answers are to be rejected, so that of the others at most `error_rate` are wrong.

    It is the least such one on the validation images whose answers the card tells (training.calibration.card_entries).

    Args:
        card: of a model.
        error_rate: 0 to 1.

    Raises:
        UserError: the card tells none, or no threshold is enough.
    """
    table = card.get("rejection", {}).get("validation") if isinstance(card.get("rejection"), Mapping) else None
    if table is None:
        raise UserError(
            f"--error-rate {error_rate:g}: this model's card has no table of rejection: take --reject-below, or train "
            "again with validation images"
        )
    try:
        below, rejected, errors = np.array([table[name] for name in ("reject_below", "rejected", "errors")], float)
        enough = below[errors <= error_rate * (int(table["images"]) - rejected)]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"expected a table of rejection in the model's card, got: {one_line(error, 120)}") from error
    if not len(enough):
        raise UserError(
            f"--error-rate {error_rate:g}: expected a threshold that reaches it, but on the validation images even the "
            "surest answers are wrong more often"
        )
    return float(enough.min())
