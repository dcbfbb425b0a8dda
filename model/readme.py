"""README.md of a model folder, in Hugging Face's format: made from card.json, so the folder can be pushed as it is.

The front matter is YAML ("Model Cards", huggingface.co/docs/hub); its values are JSON, which YAML includes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from common.errors import one_line
from data.sources import SUMS

# Pictures of MNIST as a card describes them; the page states any other kind.
MNIST_PICTURES = {
    "inverted": False,
    "box": 20,
    "placed": "mass",
    "stretched": False,
    "sizes_vary": False,
    "values": [0, 255],
}
OTHER_DATA = "other"  # a data set that the hub does not have
LICENSE = "apache-2.0"  # of the project; whoever publishes a model of their own may choose another

ROWS_KIND = "Digits are light on dark, paper near 48 of 255 and ink up to 255: `levelled` of data/row_paper.py."


def model_page(card: Mapping[str, Any]) -> str:
    """The page of the model that a card describes; scores are left out if the card has none."""
    name, scores, data = one_line(card.get("network", "LeNet"), 100), _scores(card), _data(card)
    lines = [f"{key}: {json.dumps(value, ensure_ascii=True)}" for key, value in _front_matter(card).items()]
    rows = [
        f"| {split} | {score['correct']:,} of {score['total']:,} | {score['loss']:.4f} |"
        for split, score in scores.items()
    ]
    which, seed, selected_on = (one_line(card.get(key, "?"), 40) for key in ("pass", "seed", "selected_on"))
    picture, is_row = card["input"], _is_row(card)
    height, width = ("W" if side < 0 else side for side in picture["shape"][2:])
    reads = "rows of digits made of images" if is_row else "images"
    header = "| rows | read exactly | loss, nats per row |" if is_row else "| images | right | loss, nats per image |"
    text = [
        *("---", *lines, "---", "", f"# {name}", ""),
        f"A LeNet for {reads} of 28×28 pixels, trained on {data['name']}.",
        f"Pass {which} of a run with seed {seed}, chosen on: {selected_on}.",
        *("", header, "|---|---|---|", *rows, ""),
        f"Input: [N, 1, {height}, {width}] float32, from {picture['low']} for black to {picture['high']} for white.",
        *([ROWS_KIND] if is_row else _kind(card.get("pictures"))),
        *_output(is_row, card.get("temperature", 1)),
        *("", "`card.json` has all settings and the SHA-256 of the files; this page is made from it.", ""),
    ]
    return "\n".join(text)


def _front_matter(card: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata that a hub reads, with the score of the test images; it has no split of the validation images."""
    data, is_row, score = _data(card), _is_row(card), _scores(card).get("test")
    task = "image-to-text" if is_row else "image-classification"
    head: dict[str, Any] = {
        "license": LICENSE,
        "library_name": "paddlepaddle",
        "pipeline_tag": task,
        "tags": ["lenet", task, "paddlepaddle"],
        **({"datasets": [data["type"]]} if data["type"] != OTHER_DATA else {}),
    }
    if score is None:
        return head
    accuracy, unit = ("rows read exactly", "row") if is_row else ("accuracy", "image")
    metrics = [
        {"type": "accuracy", "value": score["correct"] / score["total"], "name": f"test {accuracy}"},
        {"type": "loss", "value": score["loss"], "name": f"test loss (nats per {unit})"},
    ]
    if isinstance(score.get("digit_error"), int | float):
        metrics.append({"type": "cer", "value": score["digit_error"], "name": "digit error rate"})
    dataset = {**data, "name": f"rows made of {data['name']}" if is_row else data["name"], "split": "test"}
    result = {"task": {"type": task}, "dataset": dataset, "metrics": metrics}
    names = [metric["type"] for metric in metrics if metric["type"] != "loss"]
    name = one_line(card.get("network", "LeNet"), 100)
    return {**head, "metrics": names, "model-index": [{"name": name, "results": [result]}]}


def _data(card: Mapping[str, Any]) -> dict[str, str]:
    """The data set of a card: its name at the hub, and in words."""
    if card.get("data_sha256") == SUMS:
        return {"type": "ylecun/mnist", "name": "MNIST"}
    return {"type": OTHER_DATA, "name": "a set in MNIST's form"}


def _is_row(card: Mapping[str, Any]) -> bool:
    return bool(card["input"].get("fit") == "row")


def _scores(card: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The scores that a card states, by the images; without those that are none."""
    stated = card.get("scores")
    kinds = {"correct": int, "total": int, "loss": int | float}
    return {
        one_line(split, 40): score
        for split, score in (stated.items() if isinstance(stated, Mapping) else ())
        if isinstance(score, Mapping)
        and all(isinstance(score.get(key), kind) for key, kind in kinds.items())
        and 0 <= score["correct"] <= score["total"] > 0
    }


def _kind(pictures: Any) -> list[str]:
    """Lines about the pictures that the model was trained on."""
    kind = pictures if isinstance(pictures, Mapping) else {}
    ink = "dark on light" if kind.get("inverted") else "light on dark"
    if all(kind.get(key, value) == value for key, value in MNIST_PICTURES.items()):
        return ["Digits are light on dark, framed as MNIST's."]
    return [f"Digits are {ink}, unlike MNIST's: `pictures` in `card.json`, `PictureKind` of recognition/kind.py."]


def _output(is_row: bool, temperature: Any) -> list[str]:
    """The lines about what the network answers; a temperature of 1 changes nothing."""
    scaling = []
    if isinstance(temperature, int | float) and temperature != 1:
        use = " for those of a digit" if is_row else ": divide their logarithms by it, and take the softmax"
        scaling = [f"A temperature of {temperature:.4g} lowers the validation loss{use}."]
    if is_row:
        return [
            "Output: probabilities of the ten digits and of no digit for every second column of pixels, to be decoded",
            "by connectionist temporal classification.",
            *scaling,
        ]
    return [
        "Output: probabilities of the classes.",
        *scaling,
        "A digit is named for any picture, also for one that holds none.",
    ]
