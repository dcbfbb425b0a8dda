"""Calibration of a network's probabilities: a temperature makes them the share of answers that are right.

They then decide which answers to reject, so that no more than a wanted share of the others is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

from common.errors import UserError, one_line
from common.ranges import is_count, is_number

BINS = 15  # as in Guo et al. (2017), section 5
TEMPERATURES = (0.05, 20.0)  # bounds of the search
NEAR_A_BOUND = 0.01  # in the logarithm of the temperature
MOST_THRESHOLDS = 50  # in a table of rejection; a bad network has hundreds of errors
STATED_REJECTION = 0.01  # fraction of the test images that is rejected in the card's entry about the rest's errors


def tempered(log_probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities at a temperature T: p(k) = exp(z(k) / T) / sum over j of exp(z(j) / T).

    T > 1 makes a network less sure, T < 1 surer; the order of its answers stays. Guo et al., "On Calibration of Modern
    Neural Networks" (2017), equation 9, where z are the logits; their log-softmax differs from them by one number an
    image, which cancels.

    Args:
        log_probabilities: [N, classes], natural logarithm.
        temperature: above 0.

    Returns:
        [N, classes] float64.
    """
    scaled = log_probabilities.astype(np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def rejection_threshold(card: Mapping[str, Any], error_rate: float) -> float:
    """The probability below which answers are to be rejected, so that of the others at most `error_rate` are wrong.

    It is the least such one on the validation images whose answers the card records (model.calibration.card_entries).

    Args:
        card: of a model.
        error_rate: 0 to 1.

    Raises:
        UserError: the card records none, or no threshold is enough.
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
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UserError(f"expected a table of rejection in the model's card, got: {one_line(error, 120)}") from error
    if not len(enough):
        raise UserError(
            f"--error-rate {error_rate:g}: expected a threshold that reaches it, but on the validation images even the "
            "surest answers are wrong more often"
        )
    return float(enough.min())


@dataclass(frozen=True)
class Confidences:
    """The confidence of each answer, and whether it was right.

    Attributes:
        confidence: [N] float64, 0 to 1.
        right: [N] bool.
    """

    confidence: np.ndarray
    right: np.ndarray

    @classmethod
    def of(cls, log_probabilities: np.ndarray, labels: np.ndarray, temperature: float = 1.0) -> Confidences:
        """From natural logarithms of probabilities [N, classes] and the right classes [N]."""
        probabilities = tempered(log_probabilities, temperature)
        return cls(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels)


def fit_temperature(log_probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The temperature at which the right classes are likeliest: least mean of -log p(label), Guo et al. (2017), 4.2.

    The mean is convex in 1 / T, so it has one minimum. Images that the network did not train on are to be given: on
    those it did it is surer than it should be.

    Args:
        log_probabilities: [N, classes], natural logarithm.
        labels: [N], the right classes.

    Returns:
        T; 1 if every answer is right (or there is none), since then nothing shows how often the network errs. Also 1
        if T lies at a bound of the search or does not lower the mean: then these images do not determine it.
    """
    wrong = log_probabilities.argmax(axis=1) != labels
    if not wrong.any():
        return 1.0

    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        right = tempered(log_probabilities, float(np.exp(log_temperature)))[rows, labels]
        return float(-np.log(np.maximum(right, np.finfo(np.float64).tiny)).mean())

    lowest, highest = np.log(TEMPERATURES)
    found = scipy.optimize.minimize_scalar(loss, bounds=(lowest, highest), method="bounded", options={"xatol": 1e-4})
    at_a_bound = min(found.x - lowest, highest - found.x) < NEAR_A_BOUND
    return 1.0 if at_a_bound or found.fun >= loss(0.0) else float(np.exp(found.x))


@dataclass(frozen=True)
class Reliability:
    """Answers sorted into bins of equal width by confidence: the reliability diagram's bars.

    Attributes:
        edges: [bins + 1] from 0 to 1; bin m holds confidences in (edges[m], edges[m + 1]].
        counts: [bins] answers.
        confidence: [bins] mean confidence of them; nan if there are none.
        accuracy: [bins] share of right ones; nan if there are none.
    """

    edges: np.ndarray
    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray


def reliability(answers: Confidences, bins: int = BINS) -> Reliability:
    """The bins of a reliability diagram: acc(B) and conf(B) of Guo et al. (2017), section 2."""
    edges = np.linspace(0, 1, bins + 1)
    places = np.clip(np.ceil(answers.confidence * bins).astype(int) - 1, 0, bins - 1)
    counts = np.bincount(places, minlength=bins)
    with np.errstate(invalid="ignore"):
        confidence = np.bincount(places, answers.confidence, bins) / counts
        accuracy = np.bincount(places, answers.right, bins) / counts
    return Reliability(edges, counts, confidence, accuracy)


def expected_calibration_error(answers: Confidences, bins: int = BINS) -> float:
    """ECE = sum over bins of |B| / N · |acc(B) - conf(B)|, a fraction; Guo et al. (2017), equation 3.

    Raises:
        ValueError: there is no answer.
    """
    if not len(answers.right):
        raise ValueError("expected at least one answer, got none")
    found = reliability(answers, bins)
    held = found.counts > 0
    gaps = np.abs(found.accuracy - found.confidence)[held]
    return float((found.counts[held] * gaps).sum() / len(answers.right))


@dataclass(frozen=True)
class Rejection:
    """The errors that remain when the least sure answers are rejected, for each number of them.

    LeCun et al. (1998), section III, compare classifiers so: how many patterns must be rejected, because the likeliest
    answer is below a threshold, until 0.5 % of the rest are wrong.

    Attributes:
        threshold: [N] reject what is less confident than this; increasing.
        rejected: [N] how many answers that are, 0 first; never all.
        errors: [N] wrong answers among the rest.
        total: answers in all.
    """

    threshold: np.ndarray
    rejected: np.ndarray
    errors: np.ndarray
    total: int

    @property
    def rejected_share(self) -> np.ndarray:
        """[N] rejected answers of all, 0 to 1."""
        return self.rejected / self.total

    @property
    def error_rate(self) -> np.ndarray:
        """[N] wrong answers of those that are not rejected, 0 to 1."""
        return self.errors / (self.total - self.rejected)


def rejection_curve(answers: Confidences) -> Rejection:
    """Reject answers one by one, the least sure first; equally sure ones go together."""
    order = np.argsort(answers.confidence, kind="stable")
    sorted_confidence = answers.confidence[order]
    threshold, rejected = np.unique(sorted_confidence, return_index=True)
    wrong_before = np.concatenate([[0], np.cumsum(~answers.right[order])])
    return Rejection(threshold, rejected, wrong_before[-1] - wrong_before[rejected], len(order))


def useful_thresholds(curve: Rejection, most: int = MOST_THRESHOLDS) -> Rejection:
    """Of a curve the least rejection for each number of errors on the rest; thinned out to `most` of these."""
    _, first = np.unique(-curve.errors, return_index=True)  # errors fall along the curve
    if len(first) > most:
        first = first[np.unique(np.linspace(0, len(first) - 1, most).round().astype(int))]
    return Rejection(curve.threshold[first], curve.rejected[first], curve.errors[first], curve.total)


def card_entries(
    validation: tuple[np.ndarray, np.ndarray] | None, test: tuple[np.ndarray, np.ndarray]
) -> dict[str, Any]:
    """The entries of a model's card about its confidence; the test images are measured, and decide nothing.

    Args:
        validation: log-probabilities [N, classes] and labels [N] of the images that decide; None if there are none, and
            then the temperature is 1 and there is no table of rejection.
        test: the same of the test images.

    Returns:
        "temperature"; "calibration": expected calibration errors, fractions, before and after it, and "set_aside",
        true, if the validation images have errors but do not determine a temperature; "rejection": of the validation
        images, the number rejected and the errors among the rest, for each threshold of the probability in
        "reject_below"; the same of the test images when 1 % of them are rejected.
    """
    temperature = fit_temperature(*validation) if validation else 1.0
    calibrated = Confidences.of(*test, temperature)
    measured = rejection_curve(calibrated)
    place = int(np.searchsorted(measured.rejected, round(STATED_REJECTION * measured.total), side="right")) - 1
    stated = {
        "images": measured.total,
        "rejected": int(measured.rejected[place]),
        "errors": int(measured.errors[place]),
    }
    calibration: dict[str, Any] = {"bins": BINS}
    if validation and temperature == 1 and (validation[0].argmax(axis=1) != validation[1]).any():
        calibration["set_aside"] = True
    rejection: dict[str, Any] = {"test": stated}
    for name, answers in (("validation", validation), ("test", test)):
        if answers:
            before, after = (expected_calibration_error(Confidences.of(*answers, at)) for at in (1.0, temperature))
            calibration[name] = {"before": before, "after": after}
    if validation:
        table = useful_thresholds(rejection_curve(Confidences.of(*validation, temperature)))
        rejection["validation"] = {
            "images": table.total,
            "reject_below": table.threshold.tolist(),
            "rejected": table.rejected.tolist(),
            "errors": table.errors.tolist(),
        }
    return {"temperature": temperature, "calibration": calibration, "rejection": rejection}


def are_card_entries(entries: Any) -> bool:
    """True for entries as `card_entries` makes them; there may be more."""
    try:
        calibration, rejection = entries["calibration"], entries["rejection"]
        measured = [calibration["test"], *([calibration["validation"]] if "validation" in calibration else [])]
        shares = [share for each in measured for share in (each["before"], each["after"])]
        stated = rejection["test"]
        counts = [(stated["images"], stated["rejected"], stated["errors"])]
        if "validation" in rejection:
            table = rejection["validation"]
            shares += table["reject_below"]
            for _, rejected, errors in zip(table["reject_below"], table["rejected"], table["errors"], strict=True):
                counts.append((table["images"], rejected, errors))
    except (TypeError, KeyError, ValueError, AttributeError):
        return False
    return (
        is_number(entries.get("temperature"), 0.01, 100)
        and all(is_number(share, 0, 1) for share in shares)
        and all(_are_of(*each) for each in counts)
    )


def _are_of(images: Any, rejected: Any, errors: Any) -> bool:
    """True if that many images can be rejected, with that many errors among the rest."""
    return is_count(images) and is_count(rejected, images) and is_count(errors, images - rejected)
