"""Rows of digits for a network that reads rows: to train, validate and test on, and their scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from common.errors import UsageError
from data.dataset import DIGITS, Mnist, Subset
from data.formats.idx import Bytes
from data.rows import MEAN_LENGTH, Labels, RowMaker, batch, row_batches
from model.decoding import NONE, aligned, greedy, losses
from model.image import ImageSpec, network_input
from model.networks import NETWORKS
from model.recipes import Recipe
from training.scores import Scorer, Scores
from training.settings import Settings

SEED_OF_TESTS = 0  # validation and test rows are the same in every run
EVALUATION_BATCH = 32  # rows at a time
LONGEST_ANSWER = 16  # digits of an answer that are kept; training rows have at most 11
UNREAD = 255  # behind the last digit of an answer


def rows_in_pass(digits: int) -> int:
    """Number of rows that hold about so many digits."""
    return max(round(digits / MEAN_LENGTH), 1)


def expect_rows(settings: Settings, data: Mnist) -> None:
    """Refuse what a network that reads rows cannot be combined with; nothing of another network.

    Raises:
        UsageError: naming the option.
    """
    if not NETWORKS[settings.network].image.is_row:
        return
    refused = {
        "--shards": settings.shards > 1,
        "--export": bool(settings.export),
        "--label-smoothing": bool(settings.label_smoothing),
        "--rotation, --scale, --shear, --shift, --elastic-alpha": settings.resolved_recipe().distortions is not None,
    }
    for option, is_given in refused.items():
        if is_given:
            raise UsageError(f"{option}: the network {settings.network} reads rows, and has no such option")
    if data.classes != DIGITS:
        raise UsageError(f"--network {settings.network}: expected the ten digits, got {len(data.classes)} classes")


@dataclass(frozen=True)
class RowSet:
    """Rows that were made: uint8 [32, W] each, and labels [N, 11], -1 behind the last digit of a row."""

    images: Sequence[Bytes]
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    @staticmethod
    def of(digits: Subset) -> RowSet:
        """Rows to validate or test on, of about as many digits as there are; none of no digits."""
        if not len(digits):
            return RowSet([], np.zeros((0, 0), np.int64))
        maker = RowMaker(digits.images, digits.labels, SEED_OF_TESTS, 0)
        rows, read = maker.rows(range(rows_in_pass(len(digits))))
        return RowSet(rows, batch(rows, read)[1])


def right_answers(subset: Subset | RowSet) -> np.ndarray:
    """Labels of a set in the form of `Scores.answers`."""
    if isinstance(subset, Subset):
        return subset.labels
    answers = np.full((len(subset), LONGEST_ANSWER), UNREAD, np.uint8)
    width = subset.labels.shape[1]
    answers[:, :width] = np.where(subset.labels < 0, UNREAD, subset.labels)
    return answers


def training_rows(
    digits: Subset, image: ImageSpec, recipe: Recipe, seed: int, pass_number: int, first: int = 0
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The batches of a pass; arguments and result as of `training.batches.pass_batches`."""
    maker = RowMaker(digits.images, digits.labels, seed, pass_number)
    for images, labels in row_batches(maker, rows_in_pass(len(digits)), recipe.batch_size, first):
        yield network_input(images, image), labels


def evaluate_rows(
    scorer: Scorer,
    image: ImageSpec,
    rows: RowSet,
    check: Callable[[], None] = lambda: None,
) -> Scores:
    """Score every row of a set; arguments as of `training.evaluation.evaluate`.

    A row is right if all its digits are read, and nothing else. Each digit that was read gives its log-probabilities
    and its label, which is `NONE` for a digit that is not there. So does the likeliest place of a digit in a row of
    which nothing was read.
    """
    order = np.argsort([row.shape[1] for row in rows.images], kind="stable")
    answers = np.full((len(rows), LONGEST_ANSWER), UNREAD, np.uint8)
    loss, distances = np.zeros(len(rows)), np.zeros(len(rows), int)
    places: list[tuple[np.ndarray, int]] = []
    for start in range(0, len(order), EVALUATION_BATCH):
        check()
        chosen = order[start : start + EVALUATION_BATCH]
        images, _ = batch([rows.images[each] for each in chosen], [()] * len(chosen))
        log_probability = scorer.log_probabilities(network_input(images, image))
        loss[chosen] = losses(log_probability, rows.labels[chosen])
        for each, columns in zip(chosen, log_probability, strict=True):
            spans, wanted = greedy(columns), rows.labels[each][rows.labels[each] >= 0].tolist()
            read = [span.digit for span in spans]
            answers[each, : len(read)] = read[:LONGEST_ANSWER]
            distances[each], labels = aligned(read, wanted)
            places += zip([span.log_probability for span in spans], labels, strict=True)
            if not spans:
                places.append((columns[columns[:, NONE].argmin()], wanted[0] if wanted else NONE))
    return Scores(
        loss=float(loss.mean()),
        correct=int(np.count_nonzero(distances == 0)),
        total=len(rows),
        answers=answers,
        log_probabilities=np.stack([place for place, _ in places]),
        labels=np.array([label for _, label in places]),
        digit_error=int(distances.sum()) / max(int((rows.labels >= 0).sum()), 1),
    )
