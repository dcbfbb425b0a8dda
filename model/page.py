"""README.md of a model folder, in Hugging Face's format: made from card.json, so the folder can be pushed as it is.

The front matter is YAML ("Model Cards", huggingface.co/docs/hub); its values are JSON, which YAML includes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from common.errors import one_line
from data.sources import SUMS

LICENSE = "apache-2.0"  # of the project; whoever publishes a model of their own may choose another


def model_page(card: Mapping[str, Any]) -> str:
    """The page of the model that a card describes; scores are left out if the card has none."""
    name, scores = one_line(card.get("network", "LeNet"), 100), card.get("scores", {})
    is_mnist = card.get("data_sha256") == SUMS
    data: dict[str, str] = (
        {"type": "ylecun/mnist", "name": "MNIST"} if is_mnist else {"type": "other", "name": "a set in MNIST's form"}
    )
    results: list[dict[str, Any]] = [
        {
            "task": {"type": "image-classification", "name": "Image Classification"},
            "dataset": {**data, "split": split},
            "metrics": [
                {"type": "accuracy", "value": score["correct"] / score["total"], "name": f"{split} accuracy"},
                {"type": "loss", "value": score["loss"], "name": f"{split} loss (nats per image)"},
            ],
        }
        for split, score in scores.items()
        if split == "test" and score["total"]  # a hub has no split of the validation images: they are of "train"
    ]
    head: dict[str, Any] = {
        "license": LICENSE,
        "library_name": "paddlepaddle",
        "pipeline_tag": "image-classification",
        "tags": ["lenet", "image-classification", "paddlepaddle"],
        **({"datasets": [data["type"]]} if is_mnist else {}),
        **({"metrics": ["accuracy"], "model-index": [{"name": name, "results": results}]} if results else {}),
    }
    lines = [f"{key}: {json.dumps(value, ensure_ascii=True)}" for key, value in head.items()]
    rows = [
        f"| {split} | {score['correct']:,} of {score['total']:,} | {score['loss']:.4f} |"
        for split, score in scores.items()
    ]
    chosen = f"Pass {card.get('pass', '?')} of a run with seed {card.get('seed', '?')}"
    picture = card["input"]
    size, low, high = picture["shape"][-1], picture["low"], picture["high"]
    temperature = _number(card.get("temperature", 1))
    text = [
        *("---", *lines, "---", "", f"# {name}", ""),
        f"A LeNet for images of 28×28 pixels, trained on {data['name']}.",
        f"{chosen}, chosen on: {card.get('selected_on')}.",
        *("", "| images | right | loss, nats per image |", "|---|---|---|", *rows, ""),
        f"Input: [N, 1, {size}, {size}] float32, from {low} for paper to {high} for ink.",
        f"Output: probabilities of the classes. Temperature {temperature} calibrates them: divide",
        "their logarithms by it, and take the softmax. A digit is named for any picture, also for one that holds none.",
        *("", "`card.json` has all settings and the SHA-256 of the files; this page is made from it.", ""),
    ]
    return "\n".join(text)


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else "unknown"
