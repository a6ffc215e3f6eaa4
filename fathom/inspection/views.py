"""What `fathom inspect` shows of a run: a table, pictures, and of an agent a video."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from fathom.errors import FathomError
from fathom.inspection.subject import FitSubject, Subject
from perception.data.images import read_image
from perception.inspection import attacks, filters, saliency
from perception.inspection import dream as dreaming
from perception.inspection import style as styling
from perception.inspection.network import find_layer, layers_of, main_layers

MOST_ATTACKED = 500
"""Test images that are attacked: the times of all ε and attacks add up to about a minute."""
_SHOWN = 8
EPSILONS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3)


@dataclass
class View:
    """What was found: a table, whose first row is the head, and pictures by name."""

    table: list[list[Any]]
    pictures: Mapping[str, Any] = field(default_factory=dict)
    """By name, figures of matplotlib's, or images uint8 (height, width, 3)."""
    videos: list[Path] = field(default_factory=list)
    """Already written."""


def layers(subject: Subject) -> View:
    """The layers, by the names that `--layer` takes."""
    rows = [
        [layer.name, layer.kind, "×".join(map(str, layer.shape))]
        for layer in layers_of(subject.network)
    ]
    return View([["layer", "kind", "gives"], *rows])


def find_filters(subject: Subject, layer: str, seed: int) -> View:
    """Filters of the first layer, and images that activate units most.

    Args:
        layer: only its units, many of them; "" for some of the main layers and the scores.
    """
    network = subject.network
    if layer:
        found = [filters.maximise(network, find_layer(network, layer), 40, seed)]
    else:
        parts = [*main_layers(network, 5), None]
        found = [filters.maximise(network, part, 10, seed) for part in parts]
    table: list[list[Any]] = [["layer", "unit", "activation", "of noise, mean |x|", "gain"]]
    for one in found:
        typical = one.random.abs().mean(dim=0).tolist()
        for unit, reached, mean, gain in zip(
            one.units, one.activations.tolist(), typical, one.gains, strict=True
        ):
            shown = "–" if gain is None else round(gain, 2)
            table.append([one.title, unit, round(reached, 4), round(mean, 4), shown])
    pictures = {
        "inspect-filters": filters.filter_figure(filters.first_filters(network), network.stacked),
        "inspect-activation": filters.maximised_figure(found, network.stacked),
    }
    return View(table, pictures)


def look_at(subject: FitSubject, paths: Sequence[Path]) -> View:
    """Saliency of test images, or of a user's own."""
    _need_classes(subject, "saliency")
    network = subject.network
    if paths:
        images = subject.own_images(paths)
        known = [path.name for path in paths]
    else:
        images, labels = subject.test_images(MOST_ATTACKED)
        order = labels.tolist()
        chosen = [order.index(label) for label in sorted(set(order))][:10]  # one of each class
        images, labels = images[chosen], labels[chosen]
        known = [network.names[label] for label in labels.tolist()]
    with torch.no_grad():
        probabilities, kinds = network.scores(images).softmax(dim=1).max(dim=1)
    gradients = saliency.gradient_map(network.scores, images, kinds)
    occlusions = torch.stack(
        [
            saliency.occlusion_map(network.scores, image, saliency.fall_of(kind))
            for image, kind in zip(images, kinds.tolist(), strict=True)
        ]
    )
    said = [network.names[kind] for kind in kinds.tolist()]
    titles = [
        f"{name}  {sure:.0%}" for name, sure in zip(said, probabilities.tolist(), strict=True)
    ]
    wrong = [not paths and name != true for name, true in zip(said, known, strict=True)]
    table: list[list[Any]] = [
        ["image" if paths else "true class", "class", "probability", "looks most at (row, column)"]
    ]
    for name, kind, sure, heat in zip(known, said, probabilities.tolist(), occlusions, strict=True):
        row, column = divmod(int(heat.argmax()), heat.shape[1])
        table.append([name, kind, round(sure, 4), f"{row}, {column}"])
    colours = ["crimson" if one else "black" for one in wrong]
    figure = saliency.saliency_figure(
        images, gradients, occlusions, titles, colours, network.stacked
    )
    return View(table, {"inspect-saliency": figure})


def fool(subject: FitSubject, epsilons: Sequence[float], seed: int) -> View:
    """Accuracy against ε, adversarial examples, and noise that the network is sure of."""
    _need_classes(subject, "fool")
    network, classes = subject.network, subject.network.names
    images, labels = subject.test_images(MOST_ATTACKED)
    epsilons = sorted({0.0, *(epsilons or EPSILONS)})
    plain = attacks.attacked(network.scores, images, labels, "FGSM", 0.0)
    right = plain.classes == labels
    curves: dict[str, list[float]] = {name: [] for name in attacks.ATTACKS}
    examples = [("image", plain)]
    shown = right.nonzero().flatten()[:_SHOWN]
    accuracy = float(right.float().mean())
    smallest: dict[str, float] = {}
    for name, curve in curves.items():
        for epsilon in epsilons:
            result = attacks.attacked(network.scores, images, labels, name, epsilon)
            curve.append(float((right & (result.classes == labels)).float().mean()))
            # What is shown: the first ε that leaves at most half of the accuracy.
            if name not in smallest and (curve[-1] <= accuracy / 2 or epsilon == epsilons[-1]):
                smallest[name] = epsilon
                examples.append((f"{name}, ε {epsilon:g}", result))
    noise, sure = attacks.sure_noise(
        network.scores, network.shape, len(classes), seed, network.device
    )
    table: list[list[Any]] = [["ε", *(f"accuracy, {name}" for name in curves)]]
    for number, epsilon in enumerate(epsilons):
        table.append([f"{epsilon:g}", *(round(curve[number], 4) for curve in curves.values())])
    reached = int((sure >= attacks.SURE).sum())
    table.append(["noise at ≥ 99 %", f"{reached} of {len(classes)} classes", ""])
    some = [(name, _some(result, shown)) for name, result in examples]
    pictures = {
        "inspect-fool": attacks.curve_figure(
            epsilons, curves, f"accuracy, {len(images)} test images", 1 / len(classes)
        ),
        "inspect-adversarial": attacks.examples_figure(images[shown], some, labels[shown], classes),
        "inspect-noise": attacks.noise_figure(noise, sure, classes),
    }
    return View(table, pictures)


MOST_PIXELS_DREAM, MOST_PIXELS_STYLE = 512, 320
"""Longest sides of the images that are dreamt and painted."""


def dream(subject: Subject, paths: Sequence[Path], layer: str, seed: int) -> View:
    """A user's image as a layer would have it."""
    if len(paths) != 1:
        raise FathomError(
            "dream needs one image, as in `fathom inspect RUN dream --images photo.jpg`"
        )
    network = subject.network
    chosen = find_layer(network, layer) if layer else dreaming.convolutions(network)[-1]
    if not chosen.spatial:
        raise FathomError(
            f"{layer} takes images of one size only; layers that can dream are "
            f"{', '.join(one.name for one in layers_of(network) if one.spatial)}"
        )
    image = _photo(paths[0], MOST_PIXELS_DREAM, network.device)
    result, before, after = dreaming.dream(network, chosen, image, seed)
    gain = round(after / before, 2) if before else "–"
    table: list[list[Any]] = [
        ["layer", "mean square before", "after", "gain"],
        [chosen.name, f"{before:.4g}", f"{after:.4g}", gain],
    ]
    return View(table, {"inspect-dream": _pixels(result)})


def paint(subject: Subject, content: Path | None, style: Path | None, vgg: Path | None) -> View:
    """The content of one image in the style of another."""
    if content is None or style is None:
        raise FathomError(
            "style needs two images, as in `fathom inspect RUN style --style STYLE.jpg --content CONTENT.jpg`"
        )
    network = subject.network
    if vgg is not None:
        features = styling.vgg_features(_safetensors(vgg))
        kind = vgg.name
    else:
        layers = dreaming.convolutions(network, 5)
        features = styling.Features(
            lambda images: network.convolve(dreaming.in_channels(network, images)),
            [layer.module for layer in layers],
            layers[-1].module,
        )
        kind = ", ".join(layer.name for layer in layers)
    device = torch.device("cpu") if vgg is not None else network.device
    one, other = (_photo(path, MOST_PIXELS_STYLE, device) for path in (content, style))
    result = styling.transfer(features, one, other)
    table: list[list[Any]] = [
        ["loss", "at the start", "at the end"],
        ["style", *(f"{loss:.4g}" for loss in result.style)],
        ["content", *(f"{loss:.4g}" for loss in result.content)],
        ["layers", kind, ""],
    ]
    return View(table, {"inspect-style": _pixels(result.image)})


def _pixels(image: torch.Tensor) -> np.ndarray:
    """An image (3, height, width) in 0…1 as uint8 (height, width, 3)."""
    return (image.permute(1, 2, 0).cpu().numpy() * 255).round().astype(np.uint8)


def _photo(path: Path, most: int, device: torch.device) -> torch.Tensor:
    """A user's image, (3, height, width) in 0…1; FathomError for one that is too small."""
    image = np.asarray(read_image(path).convert("RGB"), np.float32) / 255
    if min(image.shape[:2]) < dreaming.SMALLEST:
        raise FathomError(
            f"{path} has {image.shape[1]}×{image.shape[0]} pixels, and at least "
            f"{dreaming.SMALLEST}×{dreaming.SMALLEST} are needed"
        )
    return styling.shrunk(torch.from_numpy(image).permute(2, 0, 1), most).to(device)


def _safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise FathomError(f"there is no file {path}") from error
    except (OSError, SafetensorError) as error:
        raise FathomError(f"{path} is no safetensors file that can be read: {error}") from error


def _some(result: attacks.Attacked, chosen: torch.Tensor) -> attacks.Attacked:
    return attacks.Attacked(
        result.images[chosen], result.classes[chosen], result.probabilities[chosen]
    )


def _need_classes(subject: FitSubject, what: str) -> None:
    if not subject.classified:
        raise FathomError(
            f"{what} needs classes or actions, and {subject.run.folder} is a fit of {subject.run.config.task}, "
            "which has none; filters works"
        )
