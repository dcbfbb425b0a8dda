"""A second look at a picture of which one digit was read: for others in it, and by `lenet_row`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from recognition.cuts import Chosen, Cuts
from recognition.row_reader import RowDigit, RowReader
from recognition.rows import Vote, joined
from recognition.shape import DOUBTED, is_bar

# Chosen on drawn digits, as those of `recognition.cuts`, and on drawn rows (tests/recognition, seeds below 3400).
SURE = 0.95  # plausibility of the plain cut under which a picture is looked at without a form's lines, and as a photo
FORMLESS = 0.4  # plausibility that a cut without a form's lines must have to be read; also by 300 of Fashion-MNIST
PIECE, HALF = 0.25, 0.7  # plausibility from which on pieces of the ink, and halves of it, may be digits themselves
# Confidence of a strip's second digit from which on there are several, or may be; if none reaches the former, the other
# digits may have spoilt the first.
TWO, PERHAPS_TWO = 0.7, 0.3
# Confidence of `lenet_row` from which on a photo shows a digit, although its cut is unlike every digit: any digit, and
# the one that the cut is likest.
CLEAR, AGREED = 0.85, 0.7
UNSPOILT = 0.99  # probability of a cut's digit from which on the cut is not spoilt, if it is like a digit
OTHER = 0.9  # confidence of `lenet_row` from which on another digit than the plain cut's is a reason for doubt


def formless(
    cuts: Cuts, plausible: Callable[[np.ndarray], np.ndarray], shows_digit: Callable[[np.ndarray], bool]
) -> Cuts:
    """The same picture's cut without a form's lines, if it is more plausible, and plausible enough to be read.

    Args:
        cuts: of one picture.
        plausible: see `second_look`.
        shows_digit: `lenet_row` finds some digit in a photo [H, W] uint8.
    """
    if cuts.form is None:
        return cuts
    value, in_doubt = float(plausible(cuts.images[:1])[0]), cuts.trust < 1
    if value >= SURE and not in_doubt:
        return cuts
    other = cuts.without_form()
    wanted = max(FORMLESS, min(value, SURE) if in_doubt else value)
    if other is None or other.several or float(plausible(other.images)[0]) <= wanted:
        return cuts
    # What a form's lines leave of a sheet's edge looks like a 1, but not in the photo.
    may_be_edge = in_doubt and other.inks and is_bar(other.inks[0].own)
    if may_be_edge and other.photo is not None and not shows_digit(other.photo):
        return replace(other, trust=min(other.trust, DOUBTED))
    return other


def second_look(
    cuts: Cuts,
    probabilities: Callable[[np.ndarray], np.ndarray],
    plausible: Callable[[np.ndarray], np.ndarray],
    read: Callable[[Cuts], list[RowDigit] | None],
) -> Cuts:
    """The same cuts, marked if there are several digits, and less trusted if there may be, or if the one is unsure.

    Args:
        cuts: of one picture.
        probabilities: gives those of each digit, [N, K], in [N, 28, 28] uint8.
        plausible: gives the plausibility of each as a digit, [N].
        read: what `lenet_row` finds in the picture; None if it is not asked.
    """

    def surest(images: np.ndarray, place: int) -> float:
        return float(np.sort(plausible(images))[-place]) if len(images) >= place else 0.0

    parts, apart = cuts.parts()
    likely = surest(parts, 2) if cuts.trust else 0.0
    beside = surest(cuts.suspicion.beside, 1)
    several = cuts.several or (apart and likely > HALF) or beside > HALF
    doubt = likely >= (PIECE if apart else HALF) or beside >= PIECE
    found = None if several else read(cuts)
    if found is not None:
        label = int(probabilities(cuts.images[:1]).argmax())
        several, in_doubt = _others(found)
        surest_one = max(found, key=lambda digit: digit.confidence, default=None)
        differs = surest_one is not None and surest_one.digit != label and surest_one.confidence > OTHER
        doubt |= in_doubt or differs
    if not doubt and several == cuts.several:
        return cuts
    return replace(cuts, several=several, trust=min(cuts.trust, DOUBTED) if doubt else cuts.trust)


def _others(found: Sequence[RowDigit]) -> tuple[bool, bool]:
    """True if there surely are several digits; and if there may be, or none, or the one is unsure."""
    second, first = sorted([0.0, 0.0, *(digit.confidence for digit in found)])[-2:]
    return second > TWO, first < TWO or second >= PERHAPS_TWO


def _by_both(vote: Vote, probabilities: np.ndarray, spoilt: bool = False) -> np.ndarray:
    """Probability of each digit, [10], by both networks.

    Args:
        vote: of `lenet_row`.
        probabilities: [10] by the other network.
        spoilt: its cut may be; it would draw all that the vote leaves to one wrong digit, so that is spread evenly.
    """
    rest = np.ones((1, 10)) if spoilt else None
    return joined([vote], probabilities[None], np.zeros(1, bool), rest=rest)[0]


def by_rows_too(
    images: np.ndarray, probabilities: Callable[[np.ndarray], np.ndarray], rows: RowReader | None
) -> np.ndarray:
    """Probability of each digit by both networks, [N, 10] of [N, 28, 28] uint8.

    If there are no `rows`, or they find not exactly one digit, the digits' own network answers alone. `lenet_row` has
    learnt shapes that MNIST lacks; see `data.row_shapes`.
    """
    read = probabilities(images)
    if rows is None:
        return read
    for number, image in enumerate(images):
        found = rows.read(image)
        if len(found) == 1:
            read[number] = _by_both(found[0][:2], read[number])
    return read


def with_vote(chosen: Chosen, photo: np.ndarray, rows: RowReader) -> Chosen:
    """The same with the digit in the middle of its photo: a pattern of the paper, or neighbours, often spoil the cuts.

    Other digits in the photo are marked as several, or are a reason for doubt; so is an unsure one.

    Args:
        chosen: of one picture.
        photo: [H, W] uint8, see `Cuts`.
        rows: reads it.
    """
    found = rows.read(photo)
    several, in_doubt = _others(found)
    middle = photo.shape[1] / 2
    vote = min(found, key=lambda digit: abs(digit.middle - middle))[:2] if found else None
    alone = len(found) == 1 and found[0].confidence > PERHAPS_TWO
    several |= chosen.several and not alone
    return replace(chosen, vote=vote, several=several, trust=min(chosen.trust, DOUBTED if in_doubt else 1))


def by_votes_too(
    read: np.ndarray, no_digit: np.ndarray, chosen: Sequence[Chosen]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count the votes of photos in.

    Args:
        read: probability of each digit by the cuts, [N, 10].
        no_digit: [N] pictures whose plain cut is unlike every digit.
        chosen: the same pictures.

    Returns:
        `read` [N, 10] and `no_digit` [N], as the votes change them, and the trust in each, [N]. A digit that only the
            photo shows is doubted. On even paper cuts are good: what is unlike every digit stays marked, as a letter.
    """
    read, no_digit, trust = read.copy(), no_digit.copy(), np.array([each.trust for each in chosen])
    for number, each in enumerate(chosen):
        if each.vote is None:
            continue
        digit, confidence = each.vote
        clear = confidence > (AGREED if read[number].argmax() == digit else CLEAR)
        spoilt = not each.even_paper and (no_digit[number] or read[number].max() < UNSPOILT)
        read[number] = _by_both(each.vote, read[number], bool(spoilt))
        if no_digit[number] and clear and not (each.several or each.even_paper):
            no_digit[number], trust[number] = False, min(each.trust, DOUBTED)
    return read, no_digit, trust
