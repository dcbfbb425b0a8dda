"""The digits that were found on a picture, as the page and the browser hand them to each other."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.errors import UserError
from recognition.cuts import Chosen
from recognition.layout import MOST_PIECES
from recognition.rows import Vote


@dataclass(frozen=True)
class Found:
    """The digits of a picture.

    Attributes:
        images: [28, 28] uint8 each, as MNIST would have made it.
        plain: if one digit was looked for, its plain cut, which answers together with the chosen one in `images`.
        size: width and height of the picture as it was read; (0, 0) if no boxes are known.
        boxes: left, top, right, bottom of each digit in pixels of that picture.
        several: one digit was looked for, and the picture plainly holds several.
        trust: of each digit's ink, or one for all; see `recognition.shape.trust` and `recognition.row_trust`.
        coarse: see `recognition.cuts.Chosen`; likewise of one digit.
        even_paper: likewise.
        votes: answers of the network of rows; one a digit of a row, at most one if one digit was looked for.
    """

    images: Sequence[np.ndarray]
    size: tuple[int, int] = (0, 0)
    boxes: Sequence[tuple[int, int, int, int]] = ()
    several: bool = False
    votes: Sequence[Vote] = ()
    plain: Sequence[np.ndarray] = ()
    trust: Sequence[float] = (1.0,)
    coarse: bool = False
    even_paper: bool = False

    @classmethod
    def of_one(cls, one: Chosen) -> Found:
        """The digit that was looked for alone."""
        votes = [one.vote] if one.vote else []
        return cls([one.image], (0, 0), (), one.several, votes, [one.plain], [one.trust], one.coarse, one.even_paper)

    @property
    def is_row(self) -> bool:
        """True if the network of rows found the digits: none has a plain cut."""
        return bool(self.votes) and not self.plain

    @property
    def chosen(self) -> list[Chosen]:
        """The digits as each was cut out alone."""
        plain, trust = self.plain or self.images, np.broadcast_to(self.trust, len(self.images)).tolist()
        votes: Sequence[Vote | None] = self.votes or [None] * len(self.images)
        return [
            Chosen(cut, image, value, self.coarse, self.several, vote, self.even_paper)
            for cut, image, value, vote in zip(plain, self.images, trust, votes, strict=True)
        ]

    def for_browser(self) -> dict[str, Any]:
        """The same as JSON: the browser keeps the digits that were found, the page does not."""
        return {
            "size": list(self.size),
            "boxes": [list(box) for box in self.boxes],
            "images": _to_text(self.images),
            "several": self.several,
            "votes": [list(vote) for vote in self.votes],
            "plain": _to_text(self.plain),
            "trust": list(self.trust),
            "coarse": self.coarse,
            "evenPaper": self.even_paper,
        }

    @classmethod
    def from_browser(cls, sent: Any) -> Found:
        """The images of `for_browser`, without boxes.

        Raises:
            UserError: `sent`, of unknown origin, holds no such images.
        """
        try:
            images, plain = _from_text(sent["images"]), _from_text(sent.get("plain", ""))
            trust = [float(each) for each in sent.get("trust", [1])]
            votes = [(digit, float(confidence)) for digit, confidence in sent.get("votes", [])]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise UserError("expected digits that were found on a picture") from error
        if not 1 <= len(images) <= MOST_PIECES:
            raise UserError(f"expected 1 to {MOST_PIECES} digits, got {len(images)}")
        if votes and (len(votes) != len(images) or not all(_is_digit(d) and 0 <= c <= 1 for d, c in votes)):
            raise UserError("expected one vote a digit, or none")
        if len(plain) not in (0, len(images)):
            raise UserError("expected one plain cut a digit, or none")
        if len(trust) not in (1, len(images)) or not all(0 <= each <= 1 for each in trust):
            raise UserError(f"expected a trust of 0 to 1 for each of {len(images)} digits, got {trust}")
        several, coarse, even = (sent.get(name) is True for name in ("several", "coarse", "evenPaper"))
        return cls(list(images), (0, 0), (), several, votes, list(plain), trust, coarse, even)


def _is_digit(sent: Any) -> bool:
    return type(sent) is int and sent in range(10)


def _to_text(images: Sequence[np.ndarray]) -> str:
    return base64.b64encode(np.asarray(images, np.uint8).tobytes()).decode()


def _from_text(text: Any) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text, validate=True), np.uint8).reshape(-1, 28, 28)
