"""Ways to cut one digit out of a picture: the plain one, and others for a picture that the plain one may spoil.

A form's line may run along the digit; faint parts may be lost; a stroke at the rim may be left out; or the digit may be
stretched to fill the picture. Each has its own cut; the network decides, if the plain cut leaves it in doubt.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy

from recognition.depth import block_means
from recognition.digit import as_mnist, centred, digit_ink
from recognition.frame import inside_frame
from recognition.parts import parts_of
from recognition.picture import BlankError, PictureError
from recognition.rows import Vote
from recognition.ruling import without_form, without_lines
from recognition.segmentation import (
    TINY,
    Ink,
    Mask,
    Pieces,
    box_of,
    cut_out,
    every_piece,
    find_inks,
    has_even_paper,
    has_two_levels,
    length,
    one_digit,
)
from recognition.several import NONE, Suspicion, suspicion
from recognition.shape import DOUBTED, is_edge, is_thing, trust

# Chosen on the drawn digits that docs/reading.md lists.
FAINT = 0.25  # part of the ink's contrast from which on a pixel counts as ink in a faint digit
FAINT_EXPONENT = 0.6  # of the grey levels of a faint digit in a tiny picture
MARGIN = 0.3  # of the digit's longest side: other cuts look no farther
LONGEST = 112  # pixels of a side that other cuts look at; MNIST's image has 28
NARROWED = 0.7, 0.33  # widths left of a digit that was stretched to fill its picture; chosen on 800 of Semeion's
COARSE = 7  # enlargement of a picture of at most 18 pixels a side
SQUARE = 0.7  # width by height of a digit that may be stretched
LEAST = 12  # pixels at least: longer side of a picture that is reduced
FEWEST_EDGES = 5  # across and down, of a small picture that was enlarged; lines and boxes have fewer
FULL = 0.9  # of the picture's sides: such a digit fills it
CLOSE = 0.6  # of a side of the picture that ink takes if the picture is cut close to it
PHOTO_HEIGHT = 64  # pixels of a photo, at least


@dataclass(frozen=True)
class Chosen:
    """The cuts of one picture that are read, and what else is known of it.

    Attributes:
        plain: [28, 28] uint8, the plain cut.
        image: likewise, the cut that is read along with it; often the same.
        trust: see `recognition.shape.trust`.
        coarse: the digit has so few pixels that its shape is no evidence.
        several: the picture plainly holds several digits.
        vote: the digit that `lenet_row` finds in the photo; None if it is not asked, or finds none.
        even_paper: see `Cuts`.
    """

    plain: np.ndarray
    image: np.ndarray
    trust: float = 1.0
    coarse: bool = False
    several: bool = False
    vote: Vote | None = None
    even_paper: bool = False


@dataclass(frozen=True)
class Cuts:
    """One picture's digit, cut out in different ways.

    Attributes:
        images: [K, 28, 28] uint8, as MNIST would have made them; the plain cut first, often alone. A second is read
            with it.
        several: the picture plainly holds several digits.
        inks: the digit with a margin around it, from which `others` are cut.
        trust: see `recognition.shape.trust`.
        form: the picture, [H, W] uint8, without a form's lines along its rim; None if it has none.
        suspicion: parts of the picture that may be other digits.
        photo: [H, W] uint8, the whole of a scan, of other pictures the part around the digit; None if the picture is
            tiny and its paper even, or was prepared otherwise.
        even_paper: the paper is as even as a drawing's; else the ink is found less surely.
        scan: the paper is not, and the picture small or cut close to its ink.
    """

    images: np.ndarray
    several: bool = False
    inks: Sequence[Ink] = ()
    trust: float = 1.0
    form: np.ndarray | None = None
    suspicion: Suspicion = NONE
    photo: np.ndarray | None = None
    even_paper: bool = False
    scan: bool = False

    @property
    def enlargement(self) -> int:
        """Enlargement of the picture before its ink was sought."""
        return self.inks[0].enlargement if self.inks else 1

    def chosen(self, image: np.ndarray) -> Chosen:
        """The plain cut along with another, [28, 28] uint8."""
        coarse = self.enlargement >= COARSE
        return Chosen(self.images[0], image, self.trust, coarse, self.several, even_paper=self.even_paper)

    def photo_if(self, in_doubt: bool) -> np.ndarray | None:
        """The photo, if the picture is a scan, or one digit was found and is in doubt; else None."""
        doubtful = not self.several and self.trust > 0 and (in_doubt or self.trust < 1)
        return self.photo if self.scan or doubtful else None

    def others(self) -> np.ndarray:
        """All cuts but the plain one, [K, 28, 28] uint8; made when the plain one is in doubt, since most are not."""
        images = [*self.images]
        for cut in itertools.chain.from_iterable(map(_other_cuts, self.inks)):
            image = centred(cut)
            if not any(np.array_equal(image, other) for other in images):
                images.append(image)
        return np.stack(images)[1:]

    def parts(self) -> tuple[np.ndarray, bool]:
        """The digits that the ink may be instead of one; see `recognition.parts.parts_of`."""
        return parts_of(_full(self.inks[0])) if len(self.inks) else (self.images[:0], False)

    def without_form(self) -> Cuts | None:
        """The same picture's digit, cut out after the form's lines were taken away; None if there is none."""
        if self.form is None:
            return None
        try:
            other = cut_digit(self.form, may_have_form=False)
        except PictureError:
            return None
        return replace(other, suspicion=self.suspicion, photo=self.photo, even_paper=self.even_paper, scan=self.scan)


def cut_digit(grey: np.ndarray, may_have_form: bool = True) -> Cuts:
    """Cut one digit out of a picture [height, width] uint8.

    Args:
        grey: the picture.
        may_have_form: a form's lines are looked for.

    Raises:
        PictureError: there is nothing to read.
    """
    grey = _unrepeated(grey)
    if (own := as_mnist(grey)) is not None:
        return Cuts(own[None])
    framed = inside_frame(grey) if may_have_form else None
    if framed is not None:
        inside, may_be_nought = framed
        try:
            cuts = cut_digit(inside, may_have_form)
            return replace(cuts, trust=min(cuts.trust, DOUBTED), form=None) if may_be_nought else cuts
        except BlankError:  # the frame is the digit itself, or empty
            pass
    page, inks = digit_ink(grey)
    ink = inks[0]
    suspected = suspicion(grey, page, ink)
    thing = suspected.plain and is_thing(grey)
    form = without_form(grey) if may_have_form else None
    around = [_compact(_around(each).reduced(LONGEST)) for each in inks]
    images = [cut_out(ink)]
    if grey.shape[0] == grey.shape[1] and has_two_levels(grey):
        whole = find_inks(grey, every_piece)[0] if ink.enlargement >= TINY else ink  # a stroke may be in several pieces
        if _fills(whole):  # a digit stretched to fill it
            images = [_narrowed(cut_out(whole), width) for width in NARROWED]
    stack = np.stack([centred(each) for each in images])
    trusted = 0.0 if thing else trust(page, ink)
    if is_edge(grey, page):
        trusted = min(trusted, DOUBTED)
    even = has_even_paper(grey)
    share = max(length(side) / entire for side, entire in zip(box_of(page.own), page.own.shape, strict=True))
    scan = not even and (page.enlargement > 1 or share > CLOSE)
    photo = None if even and page.enlargement >= TINY else _photo(grey, None if scan else page)
    return Cuts(stack, suspected.plain and not thing, around, trusted, form, suspected, photo, even, scan)


def _photo(grey: np.ndarray, page: Ink | None) -> np.ndarray:
    """A picture [H, W] uint8, reduced; if its ink is given, the part around that: then it is in the middle."""
    if page is not None:
        grey = grey[_window(page.box)]
    return block_means(grey.astype(np.float32), max(len(grey) // PHOTO_HEIGHT, 1)).astype(np.uint8)


def _unrepeated(grey: np.ndarray) -> np.ndarray:
    """The picture at its own size, if all its pixels are repeated to enlarge it."""
    # One line of a photo is enough to see that it is none.
    step = math.gcd(*grey.shape, *_edges(grey[len(grey) // 2][None]))
    if step == 1:
        return grey
    across, down = _edges(grey), _edges(grey.T)
    step = math.gcd(step, *across, *down)
    is_small = max(grey.shape) >= LEAST * step and min(len(across), len(down)) >= FEWEST_EDGES
    return grey[::step, ::step] if is_small else grey


def _edges(grey: np.ndarray) -> list[int]:
    """Numbers of the columns that differ from the one before."""
    return (np.flatnonzero((grey[:, 1:] != grey[:, :-1]).any(axis=0)) + 1).tolist()


def _fills(ink: Ink) -> bool:
    """True if a digit is as large as the picture, and wide."""
    height, width = map(length, box_of(ink.own))
    return height > FULL * len(ink.own) and width > max(FULL * ink.own.shape[1], SQUARE * height)


def _narrowed(cut: np.ndarray, width: float) -> np.ndarray:
    return np.asarray(scipy.ndimage.zoom(cut, (1, width), order=1))


def _around(ink: Ink) -> Ink:
    """The digit with a margin around it."""
    window = _window(box_of(ink.own))
    return replace(ink, depth=ink.depth[window], own=ink.own[window])


def _window(box: tuple[slice, slice]) -> tuple[slice, slice]:
    """A box and the margin around it."""
    margin = round(MARGIN * max(map(length, box)))
    rows, columns = (slice(max(side.start - margin, 0), side.stop + margin) for side in box)
    return rows, columns


def _compact(ink: Ink) -> Ink:
    """The same in half the memory: hundreds of pictures may wait for their answer."""
    return replace(ink, depth=ink.depth.astype(np.float16))


def _full(ink: Ink) -> Ink:
    """Compact ink, to compute with."""
    return replace(ink, depth=ink.depth.astype(np.float32))


def _other_cuts(ink: Ink) -> Iterator[np.ndarray]:
    ink = _full(ink)
    exponent = FAINT_EXPONENT if ink.enlargement >= TINY else None
    for threshold, own in ((ink.threshold, ink.own), (FAINT, _faint(ink))):
        if own is not None:
            faint = exponent if threshold == FAINT else None
            lined = without_lines(own)
            for mask in (own, lined):
                if mask is not None:
                    yield cut_out(replace(ink, own=mask, threshold=threshold), exponent=faint)
    yield cut_out(ink, _with_rim(Pieces(ink.depth, ink.threshold), ink.own))
    if _fills(ink):
        yield from (_narrowed(cut_out(ink), width) for width in (1, *NARROWED))


def _faint(ink: Ink) -> Mask | None:
    """The digit with its faint parts; None if specks are as faint."""
    try:
        return one_digit(Pieces(ink.depth, FAINT))
    except PictureError:
        return None


def _with_rim(pieces: Pieces, own: Mask) -> Mask:
    """The digit and every larger piece near it, also at the rim."""
    size = max(map(length, box_of(own)))
    near = scipy.ndimage.minimum(scipy.ndimage.distance_transform_edt(~own), pieces.labels, pieces.numbers) < size / 5
    return own | pieces.pixels(near & (pieces.weights > pieces.depth[own].sum() / 20))
