"""A picture with a box around each digit and what was read above it, as PNG files."""

from __future__ import annotations

import io
import os
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from common.errors import UserError, one_line
from common.files import make_folder, open_file, write_file
from recognition.row_answers import PageAnswer

SOFTWARE = "infer.py --annotate"  # in each file, so that it is known as one that may be replaced
LONGEST_SIDE = 1000  # pixels to which a smaller picture is enlarged, so that words and boxes are sharp
READ, DOUBTFUL = "#0072B2", "#D55E00"  # blue; vermilion for rejected digits and what is unlike one (Okabe and Ito 2008)


class Annotator:
    """Writes annotated pictures into a folder, or the only one to a file.

    Args:
        target: a name that ends in .png for one picture, else a folder, which is made if it is not there.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self._one_file = names_a_file(target)
        self._written: set[str] = set()

    def write(self, page: PageAnswer) -> Path:
        """Draw a page; returns where: NAME.png, or NAME-2.png where an earlier picture had that name.

        Raises:
            UserError: it is the second picture, and one file was named; or a file is there that was not drawn here.
            OSError: it cannot be written.
        """
        path = self._target
        if self._one_file and self._written:
            raise UserError(f"--annotate {one_line(path)}: expected one picture, got more: name a folder")
        if not self._one_file:
            make_folder(path)  # here, so that none is left behind if no picture can be read
            stem = Path(page.path).stem[:50] if page.path != "-" else "stdin"
            name, number = stem, 1
            while name in self._written:
                number += 1
                name = f"{stem}-{number}"
            path = path / f"{name}.png"
        self._written.add(path.stem)
        if not _may_be_replaced(path):
            raise UserError(
                f"--annotate {one_line(path)}: it is there already and was not drawn by --annotate; name another folder"
            )
        write_file(path, annotated(page))
        return path


def names_a_file(target: Path) -> bool:
    """True if `--annotate` names a file, not a folder."""
    return target.suffix.lower() == ".png" and not target.is_dir()


def _may_be_replaced(path: Path) -> bool:
    """True if there is no file, or one that was drawn here."""
    if not os.path.lexists(path):
        return True
    if path.is_symlink():
        return False
    try:
        with open_file(path) as file, Image.open(file, formats=["PNG"]) as picture:
            return picture.info.get("Software") == SOFTWARE
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def annotated(page: PageAnswer) -> bytes:
    """The page with its boxes and digits, as a PNG file's bytes."""
    height, width = page.grey.shape
    factor = max(1.0, LONGEST_SIDE / max(height, width))
    tall = sorted(digit.box_in_grey[3] * factor for line in page.rows for digit in line.digits)
    size = int(min(max(0.4 * tall[len(tall) // 2], 16), 48))
    font = ImageFont.load_default(size)
    stroke = max(2, size // 10)
    topmost = min(digit.box_in_grey[1] for line in page.rows for digit in line.digits)
    above = max(0, round(1.3 * size - factor * topmost))  # room for what is written over the topmost row
    picture = Image.fromarray(page.grey).convert("RGB").resize((round(width * factor), round(height * factor)))
    sheet = Image.new("RGB", (picture.width, picture.height + above), "white")
    sheet.paste(picture, (0, above))
    draw = ImageDraw.Draw(sheet)
    for line in page.rows:
        for digit in line.digits:
            colour = DOUBTFUL if digit.answer.rejected or digit.answer.no_digit else READ
            left, top, wide, high = (factor * side for side in digit.box_in_grey)
            draw.rectangle((left, top + above, left + wide, top + high + above), outline=colour, width=stroke)
            place = (left + wide / 2, top + above - stroke)
            draw.rectangle(draw.textbbox(place, digit.text, font, anchor="mb"), fill="white")
            draw.text(place, digit.text, colour, font, anchor="mb")
    return as_png(sheet)


def as_png(sheet: Image.Image) -> bytes:
    """A drawing as a PNG file's bytes, marked as drawn here."""
    drawn_by, file = PngInfo(), io.BytesIO()
    drawn_by.add_text("Software", SOFTWARE)
    sheet.save(file, "PNG", pnginfo=drawn_by)
    return file.getvalue()
