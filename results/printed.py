"""A run as train.py prints it: a header, a line a pass, and the headline."""

from __future__ import annotations

from results.records import Row

HEADER = "pass       train loss   acc %   validation loss   acc %   test loss   acc %   correct        s   images/s"
NARROW_HEADER = "pass       train loss   validation loss   acc %   test loss   acc %"  # of a terminal of 80 columns


def pass_line(row: Row, passes: int, narrow: bool = False) -> str:
    """One printed row of a pass, under `HEADER`, or `NARROW_HEADER` if `narrow`."""
    validation = " " * 14 + "–" + " " * 7 + "–"
    if row.validation_total:
        validation = f"{row.validation_loss:15.4f} {100 * (row.validation_accuracy or 0):7.2f}"
    best = "  best" if row.best else ""
    if narrow:
        test = f"{row.test_loss:9.4f} {100 * (row.test_accuracy or 0):7.2f}"
        return f"{f'{row.pass_number}/{passes}':<10} {row.train_loss:10.4f}   {validation}   {test}{best}"
    test = f"{row.test_loss:9.4f} {100 * (row.test_accuracy or 0):7.2f}   {f'{row.test_correct}/{row.test_total}':>11}"
    return (
        f"{f'{row.pass_number}/{passes}':<10} {row.train_loss:10.4f} {100 * row.train_accuracy:7.2f}   {validation}   "
        f"{test} {row.seconds:6.1f} {row.images_per_second:10,.0f}{best}"
    )


def headline_line(best_pass: int, selected_on: str, loss: float, correct: int, total: int) -> str:
    """The line that a run ends with: the chosen pass and what its saved model scores on the test images."""
    return (
        f"best pass {best_pass}, chosen on {selected_on}: test loss {loss:.4f}, "
        f"{correct}/{total} = {100 * correct / total:.2f} % (measured on the saved model)"
    )
