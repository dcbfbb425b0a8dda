"""The saved model: its files, written, verified and loaded; `training/publish.py` fills its card.

A model is a folder of three files or more. `inference.pdmodel` and `inference.pdiparams` are Paddle's own (program and
parameters, the form that Paddle 2.6 and 3 both read); `card.json` describes them and carries their SHA-256, and
its own. `inference.onnx` is there if it was asked for (model/onnx.py). `novelty.safetensors`, which finds pictures that
hold no digit (recognition/novelty.py), is there in what train.py saves, but for rows. The bytes whose sums were checked
are those that are loaded: they go to Paddle from memory, not by path. The sums detect damage, not tampering;
`model.program_check` bounds what a tampered program can do. `README.md` is for people and for hubs of models
(model/readme.py). A folder may hold other models: the released one in `released`, which train.py never writes, and
one that reads rows in `rows`.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.checksummed import dump_checksummed, file_entry, load_checksummed, parse_object
from common.errors import UserError, one_line
from common.files import holds_only, new_folder, read_file, real_path, sha256, sync
from model.card_check import CARD_FORMAT, card_problem
from model.image import ImageSpec
from model.program_check import ProgramError, check_program
from model.readme import model_page
from model.trial import survive_trial

PROGRAM, PARAMETERS, CARD = "inference.pdmodel", "inference.pdiparams", "card.json"
ONNX, NOVELTY = "inference.onnx", "novelty.safetensors"  # a folder may be without them
README = "README.md"  # made from the card; nothing reads it, and a folder may be without it
RELEASED = "released"  # folder in a model folder
ROWS = "rows"  # the same of a model that reads rows of digits
INNER = (RELEASED, ROWS)
MODEL_FILES = (PROGRAM, PARAMETERS, ONNX, NOVELTY, CARD, README)

MAX_CARD_BYTES = 1 << 20
MAX_FILE_BYTES = 256 << 20  # the largest network here is 2 MB


class ModelError(UserError):
    """A model folder cannot be used."""


@dataclass(frozen=True)
class SavedModel:
    """A model folder, read and verified.

    Attributes:
        folder: where it was read.
        card: card.json.
        program: the program's bytes.
        parameters: the parameters' bytes.
        onnx: the same network as ONNX; None if the folder has none.
        novelty: detector of pictures that hold no digit; None if the folder has none.
    """

    folder: Path
    card: Mapping[str, Any]
    program: bytes
    parameters: bytes
    onnx: bytes | None = None
    novelty: bytes | None = None

    @property
    def temperature(self) -> float:
        """Temperature that calibrates the probabilities (`model.calibration.tempered`); 1 in cards without it."""
        return float(self.card.get("temperature", 1))

    @property
    def input(self) -> Mapping[str, Any]:
        """The picture that the network takes: name, shape, low, high, fit (see model.image.ImageSpec)."""
        return self.card["input"]

    @property
    def image(self) -> ImageSpec:
        """The picture that the network takes, for `network_input`."""
        entry = self.card["input"]
        return ImageSpec(entry["shape"][2], entry["low"], entry["high"], entry["fit"])


def save_model(folder: Path, model: SavedModel) -> bool:
    """Write a model folder in one step; a reader of `folder` finds at any instant the old one or the new one, whole.

    Args:
        folder: created, or replaced if it holds a model and no more; a link to one is not followed.
        model: its parts; `format`, `files` and a SHA-256 of its own are added to the card.

    Returns:
        True if README.md was not written: a user had edited the one that was there, and it is kept.

    Raises:
        OSError: it cannot be written; an old folder is untouched.
    """
    contents = {PROGRAM: model.program, PARAMETERS: model.parameters}
    contents |= {name: data for name, data in ((ONNX, model.onnx), (NOVELTY, model.novelty)) if data is not None}
    edited = _edited_page(folder)
    if edited is None:
        contents[README] = model_page(model.card).encode()
    files = {name: file_entry(data) for name, data in contents.items()}
    contents[CARD] = dump_checksummed({"format": CARD_FORMAT, **model.card, "files": files})
    folder.parent.mkdir(parents=True, exist_ok=True)
    with new_folder(folder, MODEL_FILES, INNER) as new:
        for inner in INNER:
            if (folder / inner).is_dir():
                shutil.copytree(folder / inner, new / inner, symlinks=True, copy_function=_link)
        for name, data in {**contents, **({} if edited is None else {README: edited})}.items():
            (new / name).write_bytes(data)
    return edited is not None


def _link(file: str, name: str) -> None:
    """Give a file a second name; copy it on a file system without hard links."""
    try:
        os.link(file, name, follow_symlinks=False)
    except OSError:
        shutil.copy2(file, name)
        sync(Path(name))


def _edited_page(folder: Path) -> bytes | None:
    """README.md of a folder unless it is, byte for byte, the one that `save_model` wrote there."""
    if not (folder / README).is_file():
        return None
    page = read_file(folder / README, MAX_FILE_BYTES)
    try:
        files = parse_object(read_file(folder / CARD, MAX_CARD_BYTES)).get("files")
    except (OSError, ValueError):
        files = None
    return None if isinstance(files, dict) and files.get(README) == file_entry(page) else page


def holds_only_a_model(folder: Path) -> bool:
    """True if a model may replace a folder: there is none, or it holds a model, perhaps a released one, and no more."""
    folder = real_path(folder)
    return holds_only(folder, MODEL_FILES, INNER) and (
        not folder.exists() or (folder / CARD).exists() or not {each.name for each in folder.iterdir()} - {*INNER}
    )


def model_in(folder: Path, rows: bool = False) -> Path:
    """The folder of the model that a folder stands for: its own, else the best one of a run, else the released one.

    With `rows`, it is one that reads rows of digits, which may lie beside one that reads single digits.
    """
    beside = (folder / ROWS, folder / RELEASED / ROWS) if rows else ()
    places = (*beside, folder, folder / "inference_model", folder / RELEASED)
    return next((place for place in places if (place / CARD).exists()), folder)


def load_model(folder: Path, trust: bool = False, rows: bool = False) -> SavedModel:
    """Read a model, and make sure that its program is like those that this project exports.

    Args:
        folder: of the model, or one that stands for it (`model_in`).
        trust: take any program, if Paddle survives it in a process of its own (`model.trial`).
        rows: it is to read rows of digits, not pictures of one.

    Raises:
        ModelError: as `read_model`; or a run has no model; or the program is none of ours, or failed on trial.
    """
    folder = model_in(folder, rows)
    if _holds(folder, "run.json", "results.csv") and not _holds(folder, CARD, PROGRAM, "inference_model"):
        raise ModelError(
            f"{folder}: expected a model, got a run without one: none was kept, or no pass has ended; name another "
            "with --model-dir"
        )
    model = read_model(folder)
    if model.image.is_row != rows:
        reads = ("pictures of one digit", "rows of digits")
        raise ModelError(f"{folder}: expected a model that reads {reads[rows]}, got one that reads {reads[not rows]}")
    if trust:
        survive_trial(folder)
        return model
    try:
        check_program(model.program, model.parameters, model.input.get("name", "image"), model.input["shape"])
    except ProgramError as error:
        raise ModelError(
            f"{folder}: expected a program as train.py exports it: {error}; if you trust its maker, take --trust"
        ) from error
    return model


def _holds(folder: Path, *names: str) -> bool:
    return any((folder / name).exists() for name in names)


def read_model(folder: Path) -> SavedModel:
    """Read a model folder and verify every byte of it; its program is not looked at.

    All files are opened relative to one descriptor of the folder, so that a folder replaced meanwhile cannot mix; if
    its files went with it, the new folder is read.

    Raises:
        ModelError: the folder or a file is missing, not a regular file, too large, altered, or of another form.
    """
    while True:
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise ModelError(
                f"{folder}: expected a model folder, got: {error.strerror}; train one with train.py, or name another "
                "with --model-dir"
            ) from error
        try:
            return _load(folder, descriptor)
        except ModelError:
            if not _was_replaced(folder, descriptor):
                raise
        finally:
            os.close(descriptor)


def read_card(folder: Path) -> Mapping[str, Any]:
    """The card of a model folder, whose other files are not looked at.

    Raises:
        ModelError: it is missing, altered, or of another form.
    """
    try:
        data = read_file(folder / CARD, MAX_CARD_BYTES)
    except OSError as error:
        raise ModelError(f"{folder / CARD}: expected the card of a model, got: {error.strerror}") from error
    return _read_card(folder, data)


def _load(folder: Path, descriptor: int) -> SavedModel:
    card = _read_card(folder, _read(folder, descriptor, CARD, MAX_CARD_BYTES))
    contents = {}
    for name in _names(card["files"]):
        data = _read(folder, descriptor, name, MAX_FILE_BYTES)
        expected = card["files"][name]["sha256"]
        if sha256(data) != expected:
            raise ModelError(
                f"{folder / name}: altered or damaged: card.json expects SHA-256 {expected[:12]}…, "
                f"got {sha256(data)[:12]}… ({len(data)} bytes); restore the folder or train again"
            )
        contents[name] = data
    return SavedModel(folder, card, contents[PROGRAM], contents[PARAMETERS], contents.get(ONNX), contents.get(NOVELTY))


def _was_replaced(folder: Path, descriptor: int) -> bool:
    """True if another folder has the name by now: then the files of the opened one may be gone already."""
    try:
        return not os.path.samestat(os.stat(folder), os.fstat(descriptor))  # noqa: PTH116
    except OSError:
        return False


def _read(folder: Path, descriptor: int, name: str, limit: int) -> bytes:
    """Bytes of a regular file in an opened folder; links are refused, so that nothing outside the folder is read."""
    try:
        return read_file(folder / name, limit, descriptor)
    except OSError as error:
        what = "a symbolic link" if error.errno == errno.ELOOP else error.strerror
        raise ModelError(f"{folder / name}: expected a file of the model, got: {what}") from error


def _read_card(folder: Path, data: bytes) -> Mapping[str, Any]:
    where = folder / CARD
    try:
        card = parse_object(data)
        problem = card_problem(card, _names(card.get("files")))
        if not problem:
            load_checksummed(data)
    except ValueError as error:
        raise ModelError(f"{where}: expected the card of a model, got: {one_line(error, 120)}") from error
    if problem:
        raise ModelError(f"{where}: {problem}")
    return card


def _names(files: object) -> list[str]:
    return [PROGRAM, PARAMETERS, *(name for name in (ONNX, NOVELTY) if isinstance(files, dict) and name in files)]


def describe_model(folder: Path) -> str:
    """The model that a folder holds, in words; empty if there is none."""
    if not folder.exists() or not {each.name for each in folder.iterdir()} - {RELEASED}:
        return ""
    try:
        card = read_model(folder).card
        scores = card["scores"]["test"]
        return f"{card['network']}, pass {card['pass']} of {card['run']}, {scores['correct']}/{scores['total']}"
    except (ModelError, KeyError, TypeError) as error:
        return f"a model that could not be read ({error})"
