"""infer.py --output: one file, the same bytes, by any number of processes, also after a crash."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import infer
from common.command_line import parse
from common.errors import UsageError, UserError
from common.guard import Guard
from common.processes import VARIABLES, rank_and_size
from data.dataset import Mnist
from model import device
from model.predictor import Predictor
from recognition import job as jobs
from recognition.job import Job
from recognition.row_reader import RowReader
from tests.conftest import MODEL, ROOT
from tests.scripts.test_old_folders import run_main

GUARDED: list[int] = []


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "PART", 4)
    # It would guard this process, to its end.
    monkeypatch.setattr(Guard, "start", lambda _, rank, **__: GUARDED.append(rank))
    for names in VARIABLES:
        for name in names:
            monkeypatch.delenv(name, raising=False)


def work(job: Job, names: Sequence[str], most: int = 1000) -> bool:
    """Answer with the name itself, `most` parts at most, as a process does that is killed after them."""
    if not job.begin({"model": 1}, names):
        return True
    for _, (part, pictures) in zip(range(most), job.missing(), strict=False):
        job.keep(part, [name.upper() for name in pictures])
    return job.finish("name")


NAMES = [f"picture {number}\n.png" for number in range(18)]  # a name may hold a line end
WHOLE = "name\n" + "".join(f"{name.upper()}\n" for name in NAMES)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_any_number_of_processes_joins_the_same_bytes(size: int, tmp_path: Path) -> None:
    output = tmp_path / "answers.csv"
    finished = [work(Job(output, rank, size), NAMES if rank == 0 else []) for rank in range(size)]
    assert finished == [False] * (min(size, 5) - 1) + [True] * (size - min(size, 5) + 1)
    assert output.read_text() == WHOLE
    assert [path.name for path in tmp_path.iterdir()] == ["answers.csv"]


def test_a_killed_job_goes_on_with_another_number_of_processes(tmp_path: Path) -> None:
    output = tmp_path / "answers.csv"
    assert not work(Job(output, 0, 2), NAMES, most=1) and not output.exists()
    written = (tmp_path / "answers.csv.parts" / "000000").stat().st_mtime_ns
    assert not work(Job(output, 0, 1), NAMES, most=2)
    assert (tmp_path / "answers.csv.parts" / "000000").stat().st_mtime_ns == written, "not computed again"
    assert work(Job(output, 0, 1), NAMES) and output.read_text() == WHOLE


def test_a_process_that_comes_too_late_has_nothing_to_do(tmp_path: Path) -> None:
    work(Job(tmp_path / "answers.csv"), NAMES)
    assert Job(tmp_path / "answers.csv", 1, 2).begin({"model": 1}, []) is False


def test_another_jobs_parts_and_an_old_output_are_refused(tmp_path: Path) -> None:
    output = tmp_path / "answers.csv"
    work(Job(output), NAMES, most=1)
    with pytest.raises(UsageError, match="expected the parts of this job, found those of another"):
        Job(output).begin({"model": 2}, NAMES)
    work(Job(output), NAMES)
    with pytest.raises(UsageError, match=r"--output .*: it exists"):
        Job(output).begin({"model": 1}, NAMES)


def test_a_file_that_came_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    output = tmp_path / "answers.csv"
    work(Job(output), NAMES, most=1)
    output.write_text("a user's own")
    for rank in (0, 1):
        with pytest.raises(UsageError, match=r"--output .*: it exists"):
            Job(output, rank, 2).begin({"model": 1}, NAMES)
    assert output.read_text() == "a user's own"
    output.unlink()
    job = Job(output)
    job.begin({"model": 1}, NAMES)
    for part, pictures in job.missing():
        job.keep(part, [name.upper() for name in pictures])
    output.write_text(WHOLE)  # by a process that was killed before it removed the parts
    assert work(Job(output), NAMES) and list(tmp_path.iterdir()) == [output]


def test_a_folder_of_other_things_is_neither_written_to_nor_removed(tmp_path: Path) -> None:
    output, parts = tmp_path / "answers.csv", tmp_path / "answers.csv.parts"
    parts.mkdir()
    (parts / "pictures").write_text("a user's own")
    with pytest.raises(OSError, match=r"holds other things .*answers\.csv\.parts"):
        Job(output).begin({"model": 1}, NAMES)
    assert [path.name for path in parts.iterdir()] == ["pictures"]
    assert (parts / "pictures").read_text() == "a user's own" and list(tmp_path.iterdir()) == [parts]
    parts.rename(tmp_path / "others")
    (tmp_path / "others" / "pictures").unlink()
    parts.symlink_to("others")
    with pytest.raises(UsageError, match="a symbolic link, through which nothing is written"):
        Job(output).begin({"model": 1}, NAMES)
    assert list((tmp_path / "others").iterdir()) == []
    with pytest.raises(UsageError, match=r"--output \.: it exists"):
        Job(Path()).begin({"model": 1}, NAMES)


@pytest.mark.parametrize("damage", [b"", b"{", b"[" * 10_000, b'{"pictures": 18}', b"pipe"])
def test_a_damaged_record_is_one_line(damage: bytes, tmp_path: Path) -> None:
    work(Job(tmp_path / "answers.csv"), NAMES, most=1)
    record = tmp_path / "answers.csv.parts" / "job.json"
    record.unlink()
    os.mkfifo(record) if damage == b"pipe" else record.write_bytes(damage)
    with pytest.raises((UserError, OSError), match=r"job\.json: expected|of this job, found those|not a regular file"):
        Job(tmp_path / "answers.csv").begin({"model": 1}, NAMES)


@pytest.mark.parametrize("damage", [b"", b"[]\n" * 18, b'"a"\n{', b"[" * 10_000, b"pipe"])
def test_a_damaged_list_is_one_line(damage: bytes, tmp_path: Path) -> None:
    job = Job(tmp_path / "answers.csv")
    job.begin({"model": 1}, NAMES)
    names = tmp_path / "answers.csv.parts" / "pictures"
    names.unlink()
    os.mkfifo(names) if damage == b"pipe" else names.write_bytes(damage)
    with pytest.raises((UserError, OSError), match=r"damaged; remove .*, and begin anew|not a regular file"):
        list(job.missing())


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    job = Job(tmp_path / "answers.csv")
    job.begin({"model": 1}, NAMES)
    (tmp_path / "answers.csv.parts" / ".000001.new.tmp-4194304999-00000000").write_bytes(b"half")
    assert work(job, NAMES)
    assert [path.name for path in tmp_path.iterdir()] == ["answers.csv"]


def test_no_pictures_and_a_first_process_that_never_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="expected pictures, found none"):
        Job(tmp_path / "answers.csv").begin({}, [])
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(jobs, "LONGEST_LISTING", 0.2)
    with pytest.raises(UserError, match="process 0 did not list the pictures"):
        Job(tmp_path / "answers.csv", 1, 2).begin({}, [])


def test_launchers_are_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    assert rank_and_size() == (0, 1)
    monkeypatch.setenv("SLURM_PROCID", "3")
    monkeypatch.setenv("SLURM_NTASKS", "4")  # a batch script has it too, which is one process
    assert rank_and_size() == (0, 1)
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    assert rank_and_size() == (3, 4)
    for rank, size in (("4", "4"), ("-1", "4"), ("x", "4"), ("0", "many"), ("0", "0")):
        monkeypatch.setenv("PADDLE_TRAINER_ID", rank)
        monkeypatch.setenv("PADDLE_TRAINERS_NUM", size)
        with pytest.raises(UsageError, match="PADDLE_TRAINER_ID, PADDLE_TRAINERS_NUM: expected"):
            rank_and_size()


@pytest.mark.parametrize("format_", ["json", "csv"])
def test_the_file_is_what_infer_prints(
    format_: str, mnist: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ten pictures, two of them unreadable, half of them in a list; by one process, and by two in turn."""
    for number in range(9):
        Image.fromarray(mnist.test_images[number]).save(tmp_path / f"{number}.png")
    (tmp_path / "5.png").write_bytes(b"nothing")
    (tmp_path / "list.txt").write_text("".join(f"{tmp_path / f'{number}.png'}\n\n" for number in range(4, 9)))
    names = [*(tmp_path / f"{number}.png" for number in range(4)), tmp_path / "no.png", "--list", tmp_path / "list.txt"]
    arguments = [*names, "--model-dir", MODEL, "--format", format_]
    assert run_main(infer, monkeypatch, *arguments) == 1
    printed = capsys.readouterr().out
    assert run_main(infer, monkeypatch, *arguments, "--output", tmp_path / "one") == 1
    assert "2 pictures could not be read" in capsys.readouterr().err
    for rank in ("0", "1"):
        monkeypatch.setenv("PADDLE_TRAINER_ID", rank)
        monkeypatch.setenv("PADDLE_TRAINERS_NUM", "2")
        assert run_main(infer, monkeypatch, *arguments, "--output", tmp_path / "two") == 0
    assert GUARDED[-2:] == [0, 1], "none hangs for ever"
    assert (tmp_path / "two").read_text() == (tmp_path / "one").read_text()
    one = (tmp_path / "one").read_text()
    if format_ == "json":  # the last digit of a probability may differ, since a job has one thread
        first, second = ([json.loads(line) for line in text.splitlines()] for text in (printed, one))
        assert [(a["path"], a.get("digit")) for a in first] == [(b["path"], b.get("digit")) for b in second]
    assert [line.split(",")[:2] for line in one.splitlines()] == [line.split(",")[:2] for line in printed.splitlines()]


def other_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(infer, "__version__", "0.1.0")


def other_device(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = device.choose_device("cpu")
    monkeypatch.setattr(device, "choose_device", lambda wish: replace(chosen, name="gpu"))
    monkeypatch.setattr(Predictor, "_create", lambda own, of, _, *rest, **named: create(own, of, "cpu", *rest, **named))


def other_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another order of summing shows in the last bits of the probabilities alone."""
    monkeypatch.setattr(Predictor, "trial", lambda predictor: np.nextafter(trial(predictor), np.float32(1)))


def more_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(infer, "parse", lambda *_, **__: replace(parse(infer.Settings), top_k=5))


def other_model(monkeypatch: pytest.MonkeyPatch) -> None:
    other = ROOT / "tests" / "samples" / "c93bf08" / "run" / "inference_model"
    monkeypatch.setattr(infer, "parse", lambda *_, **__: replace(parse(infer.Settings), model_dir=other))


def no_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RowReader, "if_any", lambda folder: None)


create, trial = Predictor._create, Predictor.trial


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda monkeypatch: None, ""),
        (other_version, "versions"),
        (other_device, "device"),
        (other_instructions, "arithmetic"),
        (more_answers, "top_k"),
        (other_model, "model, arithmetic"),
        (no_rows, "model, arithmetic"),
    ],
)
def test_a_job_goes_on_only_where_the_answers_are_the_same(
    change: Callable[[pytest.MonkeyPatch], None],
    named: str,
    mnist: Mnist,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number in range(6):
        Image.fromarray(mnist.test_images[number]).save(tmp_path / f"{number}.png")
    arguments = [*sorted(tmp_path.iterdir()), "--model-dir", MODEL, "--format", "csv", "--output", tmp_path / "out"]
    with monkeypatch.context() as second_is_missing:
        second_is_missing.setenv("PADDLE_TRAINER_ID", "0")
        second_is_missing.setenv("PADDLE_TRAINERS_NUM", "2")
        assert run_main(infer, second_is_missing, *arguments) == 0
    change(monkeypatch)
    if not named:
        assert run_main(infer, monkeypatch, *arguments) == 0
        assert (tmp_path / "out").read_text().count("\n") == 7
        return
    with pytest.raises(UsageError, match=rf"found those of another \(other {named}\); remove the folder"):
        run_main(infer, monkeypatch, *arguments)
    assert (tmp_path / "out.parts" / "000000").exists()


def test_answers_depend_on_the_model_of_rows_too() -> None:
    one: Any = SimpleNamespace(card={"files": 1}, device="cpu", trial=lambda: b"one")
    others: list[Any] = [None, *(SimpleNamespace(files=files, trial=lambda: np.zeros(1)) for files in (2, 3))]
    others.append(SimpleNamespace(files=3, trial=lambda: np.ones(1)))
    found = [infer._answering(one, one, one, rows) for rows in others]
    assert all(first != second for first, second in itertools.combinations(found, 2))


@pytest.mark.parametrize("arguments", [("--output", "x"), ("-", "--output", "x", "--format", "csv")])
def test_what_cannot_be_a_job_is_wrong_use(arguments: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="--output: expected --format json or csv"):
        infer.Settings(
            pictures=("-",) if "-" in arguments else ("a.png",),
            output=Path("x"),
            format="csv" if "csv" in arguments else "table",
        )
