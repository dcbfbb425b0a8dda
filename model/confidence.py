"""What a network's probabilities are worth: a temperature makes them the share of answers that are right."""

from __future__ import annotations

import numpy as np


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
