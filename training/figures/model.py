"""The figures that need a run's best model: its answers, its filters, its layers, and what it was trained on."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import paddle

from mnist.dataset import Mnist, network_input, split
from model.confidence import tempered
from model.feature_maps import FeatureMaps
from model.inference import Predictor, load_model
from model.networks import NETWORKS
from model.recipes import Recipe
from training.calibration import Confidences
from training.feeding import pass_batches
from training.figures.answers import calibration, confusion_matrix, wrong_answers
from training.figures.network import feature_maps, filters, seen
from training.figures.rejection import rejection
from training.figures.style import save_both
from training.run import RunFolder
from training.settings import Settings


def draw_model(folder: RunFolder, settings: Settings, data: Mnist) -> None:
    """Draw them into the run's folder.

    Raises:
        ModelError: the model cannot be used.
        OSError: a figure cannot be written.
    """
    paddle.enable_static()
    model, recipe, image = load_model(folder.model), settings.resolved_recipe(), NETWORKS[settings.network].image
    training, validation = split(data, recipe.validation_size)
    inputs, unseen = (
        network_input(images, size=image.size, low=image.low, high=image.high, fit=image.fit)
        for images in (data.test_images, validation.images)
    )
    predictor = Predictor(model)
    log_probabilities = predictor.log_probabilities(inputs)
    answers = {"test": Confidences.of(log_probabilities, data.test_labels, model.temperature)}
    if len(validation):
        told = Confidences.of(predictor.log_probabilities(unseen), validation.labels, model.temperature)
        answers = {"validation": told, **answers}
    layers = FeatureMaps.of_model(model)
    outputs = {name: values[0] for name, values in layers.of(inputs[:1]).items()}
    outputs["probability"] = np.exp(log_probabilities[0])
    images, labels = next(pass_batches(training, image, recipe, settings.seed, pass_number=1))
    temperature = model.card.get("temperature")
    for name, figure in {
        "confusion": confusion_matrix(data.test_labels, log_probabilities.argmax(axis=1)),
        "wrong_answers": wrong_answers(
            data.test_images, data.test_labels, tempered(log_probabilities, temperature or 1.0)
        ),
        "calibration": calibration(log_probabilities, data.test_labels, temperature),
        "rejection": rejection(answers),
        "filters": filters(layers.parameters()),
        "feature_maps": feature_maps(inputs[0, 0], outputs),
        "batch": seen(images, labels, _what_was_seen(recipe)),
    }.items():
        save_both(figure, folder.figures / name)


def _what_was_seen(recipe: Recipe) -> str:
    distortions = asdict(recipe.distortions) if recipe.distortions else {}
    if not distortions.get("elastic_alpha"):
        distortions.pop("elastic_sigma", None)  # it says nothing of a field of no strength
    ranges = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in distortions.items() if value)
    how = f"distorted by up to: {ranges}" if ranges else "not distorted"
    return f"the first pictures of pass 1 as the network saw them,\n{how}"
