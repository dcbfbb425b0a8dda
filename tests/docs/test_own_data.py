"""docs/own-data.md from top to bottom: ten photographs, the released model, a finer one that reads them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from PIL import Image

from data.dataset import Mnist
from tests.docs.pages import commands, copy_project
from tests.docs.test_pages import succeeds


def photograph(digit: np.ndarray, path: Path) -> None:
    """A digit [28, 28] in dark ink on paper of 320×240 pixels, in uneven light, as a JPEG file."""
    paper = np.full((240, 320), 225.0) - np.linspace(0, 60, 320)
    ink = np.asarray(Image.fromarray(digit).resize((112, 112), Image.Resampling.BICUBIC), float)
    paper[64:176, 104:216] *= 1 - 0.8 * ink / 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(paper.astype(np.uint8)).save(path, quality=90)


def test_ten_photographs_become_a_model_that_reads_them(mnist: Mnist, tmp_path: Path) -> None:
    project = copy_project(tmp_path, mnist, train=10, test=10)
    for digit in range(10):
        first, *others = np.flatnonzero(mnist.test_labels == digit)[:3]
        photograph(mnist.test_images[first], project.folder / f"handwriting/train/{digit}/first.jpg")
        for number in others:
            photograph(mnist.test_images[number], project.folder / f"handwriting/test/{digit}/{number}.jpg")
    said = {command: succeeds(project.run(command)) for command in commands("docs/own-data.md")}
    before, scored, trained, compared, after = said.values()
    for read in (before, after):
        assert len(re.findall(r"handwriting/test/\d/\d+\.jpg", read)) == 20
        right = [line.split()[0] for line in read.splitlines() if re.search(r"test/(\d)/", line)]
        named = re.findall(r"test/(\d)/", read)
        assert sum(one == other for one, other in zip(right, named, strict=True)) >= 18
    assert re.search(r"\d+ of 20 right", scored)
    assert "published to my_model" in trained and "10 training and 20 test images of 10 classes" in trained
    assert len(re.findall(r"\d+ of 20 right", compared)) == 2
    assert (project.folder / "wrong.png").exists()
