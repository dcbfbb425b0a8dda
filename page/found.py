"""The digits that were found on a picture, as the page and the browser hand them to each other."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.errors import UserError
from recognition.layout import MOST_PIECES
from recognition.rows import Vote


@dataclass(frozen=True)
class Found:
    """The digits of a picture.

    Attributes:
        images: [28, 28] uint8 each, as MNIST would have made it.
        size: width and height of the picture as it was read; (0, 0) if no boxes are known.
        boxes: left, top, right, bottom of each digit in pixels of that picture.
        several: one digit was looked for, and the picture plainly holds several.
        votes: of a row, the answers of the network of rows, one a digit.
    """

    images: Sequence[np.ndarray]
    size: tuple[int, int] = (0, 0)
    boxes: Sequence[tuple[int, int, int, int]] = ()
    several: bool = False
    votes: Sequence[Vote] = ()

    def for_browser(self) -> dict[str, Any]:
        """The same as JSON: the browser keeps the digits that were found, the page does not."""
        images = base64.b64encode(np.asarray(self.images, np.uint8).tobytes()).decode()
        boxes = [list(box) for box in self.boxes]
        votes = [list(vote) for vote in self.votes]
        return {"size": list(self.size), "boxes": boxes, "images": images, "several": self.several, "votes": votes}

    @classmethod
    def from_browser(cls, sent: Any) -> Found:
        """The images of `for_browser`, without boxes.

        Raises:
            UserError: `sent`, of unknown origin, holds no such images.
        """
        try:
            pixels = np.frombuffer(base64.b64decode(sent["images"], validate=True), np.uint8)
            images = pixels.reshape(-1, 28, 28)
            votes = [(digit, float(confidence)) for digit, confidence in sent.get("votes", [])]
        except (KeyError, TypeError, ValueError) as error:
            raise UserError("expected digits that were found on a picture") from error
        if not 1 <= len(images) <= MOST_PIECES:
            raise UserError(f"expected 1 to {MOST_PIECES} digits, got {len(images)}")
        if votes and (len(votes) != len(images) or not all(d in range(10) and 0 <= c <= 1 for d, c in votes)):
            raise UserError("expected one vote a digit, or none")
        return cls(list(images), several=sent.get("several") is True, votes=votes)
