"""Temperature, calibration error and rejection, against numbers worked out by hand or known by construction."""

from __future__ import annotations

import numpy as np
import pytest

from common.errors import UserError
from model.calibration import (
    Confidences,
    card_entries,
    expected_calibration_error,
    fit_temperature,
    rejection_curve,
    rejection_threshold,
    reliability,
    tempered,
    useful_thresholds,
)


@pytest.fixture(scope="module")
def honest() -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities that are exactly the chances with which the labels were drawn."""
    random = np.random.default_rng(3)
    probabilities = tempered(random.normal(0, 3, (20_000, 10)), 1.0)
    drawn = (probabilities.cumsum(axis=1) < random.random((20_000, 1))).sum(axis=1)
    return np.log(probabilities), np.minimum(drawn, 9)


def test_tempered_is_softmax_of_logits_over_temperature() -> None:
    logits = np.array([[1.0, 3.0, *[0.0] * 8]])
    expected = np.exp(logits / 2) / np.exp(logits / 2).sum()
    normalised = logits - np.log(np.exp(logits).sum())
    assert tempered(normalised, 2.0) == pytest.approx(expected)
    assert tempered(np.array([[0.0, *[-200.0] * 9]]), 0.1).tolist() == [[1.0, *[0.0] * 9]]


@pytest.mark.parametrize("factor", [0.3, 1.0, 3.0])  # too unsure, honest, too sure
def test_the_temperature_undoes_what_was_done_to_the_logits(
    factor: float, honest: tuple[np.ndarray, np.ndarray]
) -> None:
    chances, labels = honest
    found = fit_temperature(chances * factor, labels)
    assert found == pytest.approx(factor, rel=0.03)
    after = expected_calibration_error(Confidences.of(chances * factor, labels, found))
    assert after < 0.012
    before = expected_calibration_error(Confidences.of(chances * factor, labels))
    assert (before > 0.1) == (factor != 1)


def test_nothing_wrong_tells_no_temperature() -> None:
    sure = np.log(np.full((4, 10), 0.01) + 0.9 * np.eye(10)[:4])
    assert fit_temperature(sure, np.arange(4)) == 1.0
    assert fit_temperature(np.empty((0, 10)), np.empty(0, int)) == 1.0


@pytest.mark.parametrize(("size", "fits"), [(1e-3, False), (1.0, True), (1e3, False)])
def test_a_temperature_at_a_bound_of_the_search_is_not_taken(size: float, fits: bool) -> None:
    """One answer in eight is wrong, so that T = size / log(63): 0.00024, 0.24 and 241."""
    labels = np.arange(400) % 10
    logits = size * np.eye(10)[(labels + (np.arange(400) % 8 == 0)) % 10]
    found = fit_temperature(logits - np.log(np.exp(logits - size).sum(axis=1, keepdims=True)) - size, labels)
    assert found == (pytest.approx(1 / np.log(63), rel=1e-3) if fits else 1.0)


def test_calibration_error_by_hand() -> None:
    answers = Confidences(np.array([0.95, 0.99, 0.97, 0.55, 0.59]), np.array([True, True, False, True, False]))
    bins = reliability(answers)
    assert bins.counts.tolist() == [0] * 8 + [2] + [0] * 5 + [3]
    assert (bins.confidence[8], bins.accuracy[8]) == pytest.approx((0.57, 0.5))
    assert np.isnan(bins.accuracy[0])
    expected = 2 / 5 * abs(0.5 - 0.57) + 3 / 5 * abs(2 / 3 - 0.97)
    assert expected_calibration_error(answers) == pytest.approx(expected)
    assert reliability(Confidences(np.array([0.0, 1.0]), np.array([True, True]))).counts[[0, -1]].tolist() == [1, 1]
    with pytest.raises(ValueError, match="at least one"):
        expected_calibration_error(Confidences(np.empty(0), np.empty(0, bool)))


def test_rejection_by_hand() -> None:
    answers = Confidences(np.array([0.9, 0.4, 0.9, 0.6, 0.8]), np.array([True, False, True, True, False]))
    curve = rejection_curve(answers)
    assert curve.threshold.tolist() == [0.4, 0.6, 0.8, 0.9]
    assert curve.rejected.tolist() == [0, 1, 2, 3]
    assert curve.errors.tolist() == [2, 1, 1, 0]
    assert curve.error_rate.tolist() == pytest.approx([2 / 5, 1 / 4, 1 / 3, 0])
    useful = useful_thresholds(curve)
    assert useful.threshold.tolist() == [0.4, 0.6, 0.9] and useful.errors.tolist() == [2, 1, 0]
    for threshold, rejected in zip(curve.threshold, curve.rejected, strict=True):
        assert (answers.confidence < threshold).sum() == rejected


def test_a_table_of_rejection_stays_short(honest: tuple[np.ndarray, np.ndarray]) -> None:
    curve = rejection_curve(Confidences.of(*honest))
    useful = useful_thresholds(curve, most=50)
    assert len(useful.errors) == 50 and useful.rejected[0] == 0 and useful.errors[-1] == 0
    assert (np.diff(useful.errors) < 0).all() and (np.diff(useful.rejected) > 0).all()


def test_the_card_tells_what_rejection_gains(honest: tuple[np.ndarray, np.ndarray]) -> None:
    chances, labels = honest
    logits = 3 * chances  # too sure
    validation, test = (logits[:8000], labels[:8000]), (logits[8000:], labels[8000:])
    card = card_entries(validation, test)
    assert card["temperature"] == pytest.approx(3, rel=0.05)
    for name in ("validation", "test"):
        assert card["calibration"][name]["after"] < 0.02 < 0.1 < card["calibration"][name]["before"]
    sure, right = (lambda answers: (answers.confidence, answers.right))(Confidences.of(*test, card["temperature"]))
    stated = card["rejection"]["test"]
    assert stated == {"images": 12_000, "rejected": 120, "errors": int((~right[np.argsort(sure)[120:]]).sum())}

    for rate in (0.2, 0.05, 0.0):
        below = rejection_threshold(card, rate)
        answers = Confidences.of(*validation, card["temperature"])
        kept = answers.confidence >= below
        assert (~answers.right[kept]).mean() <= rate and kept.any()
    assert rejection_threshold(card, 1.0) == card["rejection"]["validation"]["reject_below"][0]


def test_without_validation_images_nothing_is_fitted(honest: tuple[np.ndarray, np.ndarray]) -> None:
    card = card_entries(None, honest)
    assert card["temperature"] == 1 and "validation" not in card["calibration"]
    with pytest.raises(UserError, match="no table of rejection"):
        rejection_threshold(card, 0.01)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"images": 3, "reject_below": [0.5], "rejected": [0], "errors": [2]}, "the surest answers are wrong"),
        ({"images": 3, "reject_below": [0.5]}, "expected a table of rejection"),
        ({"images": 3, "reject_below": "x", "rejected": [0], "errors": [0]}, "expected a table of rejection"),
        (
            {"images": 3, "reject_below": [0.5, 1], "rejected": [0], "errors": [0, 1]},
            "expected a table of rejection",
        ),
        ({"images": 3, "reject_below": [10**400], "rejected": [0], "errors": [0]}, "expected a table of rejection"),
        ([1, 2], "expected a table of rejection"),
    ],
)
def test_a_table_of_no_use_is_told(table: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        rejection_threshold({"rejection": {"validation": table}}, 0.1)
