"""An agent's episodes, looked into: a video of what it attends to, and its return under attack."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from agents.agent import generator
from envs.observations import FlatObservation
from envs.vector import Transitions
from fathom.display import number
from fathom.evaluation import Result, evaluate, evaluation_seed
from fathom.files import reporting_disk_errors
from fathom.inspection.subject import AgentSubject
from fathom.inspection.views import View
from fathom.recording import frames_a_second, moments, write_video
from perception.inspection import attacks, saliency
from perception.inspection.drawing import as_colours, overlaid

LEVELS = (1, 2, 4, 8)
"""Default ε of attacks on an agent, in grey levels of 255."""
_SIDE, _PANEL = 504, 264
"""Pixels of the attended frame, and of the panel beside it."""
_SIDE_LIVE = 252
"""Pixels of the attended frame while it is played."""
_STILLS = 6
_STEPS = 60
"""Steps into the episode whose frame is shown attacked."""
_USUAL_STEPS = 300
"""Steps of play whose images the usual one is the median of."""


@dataclass
class Moment:
    """What an agent saw, and what it made of that."""

    image: Tensor
    """(channels, height, width) in 0…1."""
    screen: np.ndarray
    """(height, width, 3) uint8, as rendered."""
    scores: np.ndarray
    """(actions,) values, or probabilities."""
    chosen: int
    """Of the scores the largest legal one."""
    occlusion: np.ndarray
    """(height, width)."""
    scores_of: Any
    """Scores of images at this moment."""


def attention(subject: AgentSubject, seed: int, max_seconds: float) -> View:
    """A video of an episode with what the agent attends to, and a picture of some of its moments."""
    run, environment = subject.run, subject.environment
    env = environment.make_single("rgb_array")
    kept: list[Moment] = []
    try:
        fps = frames_a_second(environment, env)
        limit = max(_STILLS, round(min(max_seconds * fps, 1e6)))
        usual = _usual_image(subject, seed)
        played = _moments(subject, env, evaluation_seed(seed), limit, usual)
        with reporting_disk_errors(run.folder):
            (run.files / "pictures").make()
            path = run.pictures / "inspect-saliency.mp4"
            write_video(path, _frames(subject, played, kept), fps)
    finally:
        env.close()
    every = max(1, len(kept) // _STILLS)
    stills = kept[every // 2 :: every][:_STILLS]
    names, noun = subject.network.names, subject.agent.score_kind
    counts = np.bincount([moment.chosen for moment in kept], minlength=len(names))
    means = np.mean([moment.scores for moment in kept], axis=0)
    table: list[list[Any]] = [["action", f"chosen in {len(kept):,} frames", f"mean {noun}"]]
    for name, count, mean in zip(names, counts.tolist(), means.tolist(), strict=True):
        table.append([name, f"{count / len(kept):.0%}", round(mean, 4)])
    return View(table, {"inspect-saliency": _stills(subject, stills)}, videos=[path])


def _moments(
    subject: AgentSubject, env: Any, seed: int, limit: int, usual: Tensor
) -> Generator[Moment]:
    agent, camera = subject.agent, subject.camera
    for screen, observations, masks in moments(
        agent, subject.environment, env, seed, limit, lambda: None
    ):
        image = camera.images(observations).to(subject.network.device)
        scores_of = subject.scores(observations)
        with torch.no_grad():
            scores = scores_of(image)[0]
        heat = saliency.occlusion_map(scores_of, image[0], saliency.squared_change, usual)
        if agent.score_kind == "probability":
            scores = scores.softmax(dim=0)
        numbers = scores.cpu().numpy()
        legal = numbers if masks is None else np.where(masks[0], numbers, -np.inf)
        yield Moment(image[0], screen, numbers, int(legal.argmax()), heat.cpu().numpy(), scores_of)


def _frames(
    subject: AgentSubject, played: Generator[Moment], kept: list[Moment]
) -> Generator[np.ndarray]:
    """Pictures of the video; the moments are kept."""
    largest, spread = 1e-12, 1e-12
    for moment in played:
        kept.append(moment)
        # One scale for the whole video, slowly forgetting, so that calm moments look calm.
        largest = max(0.97 * largest, float(np.quantile(moment.occlusion, 0.995)))
        spread = max(0.99 * spread, float(np.abs(moment.scores - moment.scores.mean()).max()))
        yield _frame(subject, moment, largest, spread)


def _frame(subject: AgentSubject, moment: Moment, largest: float, spread: float) -> np.ndarray:
    """The newest frame that the agent saw with its attention; beside it the screen, and bars of the actions."""
    shade = _shaded(moment.image, moment.occlusion / largest, subject.network.stacked, _SIDE)
    size = (shade.shape[1], shade.shape[0])
    canvas = Image.new("RGB", (_SIDE + _PANEL, _SIDE), "white")
    place = ((_SIDE - size[0]) // 2, (_SIDE - size[1]) // 2)
    canvas.paste(Image.fromarray(shade), place)
    screen = Image.fromarray(moment.screen)
    screen.thumbnail((_PANEL - 24, 230))
    canvas.paste(screen, (_SIDE + (_PANEL - screen.width) // 2, 10))
    _draw_bars(canvas, subject, moment, spread, top=260)
    return np.asarray(canvas)


def _shaded(image: Tensor, heat: np.ndarray, stacked: bool, side: int) -> np.ndarray:
    """The newest frame of an image under a map (height, width), 1 the most; uint8, its longest side as given."""
    height, width = heat.shape
    scale = side / max(height, width)
    size = (round(width * scale), round(height * scale))
    seen = Image.fromarray((as_colours(image, stacked) * 255).astype(np.uint8))
    mask = Image.fromarray(np.clip(heat, 0, 1).astype(np.float32))
    shade = overlaid(
        np.asarray(seen.resize(size, Image.Resampling.NEAREST)) / np.float32(255),
        np.asarray(mask.resize(size, Image.Resampling.BILINEAR)),
    )
    return (shade * 255).astype(np.uint8)


def attended(
    subject: AgentSubject, observations: FlatObservation, method: str, largest: float
) -> tuple[np.ndarray, float]:
    """What an agent sees, shaded by what it looks at: the picture, uint8 (h, w, 3), and the scale for the next.

    Args:
        observations: (1, …).
        method: "gradient" of the best action's score, quick, or "occlusion" by a blurred copy, some 200 times
            the cost of acting.
        largest: the scale of the picture before; it falls slowly, so that calm moments look calm.
    """
    image = subject.camera.images(observations).to(subject.network.device)
    scores_of = subject.scores(observations)
    if method == "gradient":
        with torch.no_grad():
            best = scores_of(image).argmax(dim=1)
        heat = saliency.gradient_map(scores_of, image, best)[0].cpu().numpy()
    else:
        heat = saliency.occlusion_map(scores_of, image[0], saliency.squared_change).cpu().numpy()
    largest = max(0.97 * largest, float(np.quantile(heat, 0.995)), 1e-12)
    return _shaded(image[0], heat / largest, subject.network.stacked, _SIDE_LIVE), largest


def _draw_bars(
    canvas: Image.Image, subject: AgentSubject, moment: Moment, spread: float, top: int
) -> None:
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(13)
    left = _SIDE + 12
    values = subject.agent.score_kind == "value"
    title = (
        f"mean value {moment.scores.mean():.3f}, bars: difference" if values else "probabilities"
    )
    draw.text((left, top - 6), title, "black", font)
    names = subject.network.names
    height = min(30, (_SIDE - top - 24) // len(names))
    start, width = left + 104, _PANEL - 104 - 62
    lengths = (moment.scores - moment.scores.mean()) / spread / 2 + 0.5 if values else moment.scores
    for row, (name, value, length) in enumerate(
        zip(names, moment.scores.tolist(), lengths.tolist(), strict=True)
    ):
        y = top + 18 + row * height
        colour = (200, 30, 40) if row == moment.chosen else (90, 120, 170)
        origin = 0.5 if values else 0.0
        ends = sorted((start + width * origin, start + width * min(1.0, max(0.0, length))))
        if height >= 8:
            if height >= 13:
                draw.text((left, y), name[:13], colour, font)
                draw.text((start + width + 6, y), f"{value:.3f}", colour, font)
            draw.rectangle((ends[0], y + 2, ends[1] + 1, y + height - 4), colour)
    draw.line((start + width * (0.5 if values else 0), top + 16, start + width * (0.5 if values else 0), _SIDE - 8), (150, 150, 150))  # fmt: skip


def _stills(subject: AgentSubject, stills: Sequence[Moment]) -> Any:
    """A figure: a column for each moment."""
    gradients = []
    for moment in stills:
        best = torch.tensor([moment.chosen], device=moment.image.device)
        gradients.append(saliency.gradient_map(moment.scores_of, moment.image[None], best)[0])
    figure = saliency.saliency_figure(
        torch.stack([moment.image for moment in stills]),
        torch.stack(gradients),
        torch.stack([torch.from_numpy(moment.occlusion) for moment in stills]),
        [subject.network.names[moment.chosen] for moment in stills],
        ["black"] * len(stills),
        subject.network.stacked,
        [moment.scores for moment in stills],
        subject.network.names,
    )
    return figure


# -- attacks ----------------------------------------------------------------------------------------


class _Attacked:
    """An agent whose observations an attacker changes: by FGSM, or by as much in random directions."""

    def __init__(self, subject: AgentSubject, epsilon: float, aimed: bool, seed: int) -> None:
        self._subject, self._epsilon, self._aimed = subject, epsilon, aimed
        self._random = torch.Generator().manual_seed(seed)

    def act(
        self,
        observations: FlatObservation,
        masks: np.ndarray | None,
        starts: np.ndarray,
        rng: np.random.Generator,
    ) -> Any:
        changed = self.changed(observations)
        return self._subject.agent.act(changed, masks, starts, rng)

    def changed(self, observations: FlatObservation) -> FlatObservation:
        """Observations with every pixel moved by ε; whole grey levels stay whole."""
        if not self._epsilon:
            return observations
        camera = self._subject.camera
        images = camera.images(observations).to(self._subject.network.device)
        if self._aimed:
            scores = self._subject.scores(observations)
            with torch.no_grad():
                best = scores(images).argmax(dim=1)
            images = attacks.fgsm(scores, images, best, self._epsilon)
        else:
            signs = torch.randint(2, images.shape, generator=self._random) * 2 - 1
            images = (images + self._epsilon * signs.to(images)).clamp(0, 1)
        return camera.replaced(observations, images)


def fool(subject: AgentSubject, epsilons: Sequence[float], episodes: int, seed: int) -> View:
    """Return against ε (Huang et al. 2017), beside random changes of the same size, and attacked frames."""
    epsilons = sorted({0.0, *(epsilons or (level / 255 for level in LEVELS))})
    curves: dict[str, list[Result]] = {"FGSM": [], "random signs": []}
    for name, results in curves.items():
        for epsilon in epsilons:
            if not epsilon and results is not curves["FGSM"]:
                results.append(curves["FGSM"][0])
                continue
            player: Any = _Attacked(subject, epsilon, name == "FGSM", seed)
            first = evaluation_seed(seed)
            results.append(evaluate(player, subject.environment, episodes, first, episodes))
    table: list[list[Any]] = [["ε", *(f"return, {name}" for name in curves)]]
    for row, epsilon in enumerate(epsilons):
        cells = (
            f"{number(results[row].mean)} ({number(min(results[row].returns))} to "
            f"{number(max(results[row].returns))})"
            for results in curves.values()
        )
        table.append([_in_levels(epsilon), *cells])
    lines = {name: [result.mean for result in results] for name, results in curves.items()}
    what = f"return, mean of {episodes} episode{'s' if episodes > 1 else ''}"
    pictures = {
        "inspect-fool": attacks.curve_figure(epsilons, lines, what, None),
        "inspect-adversarial": _attacked_frames(subject, epsilons[1:], seed),
    }
    return View(table, pictures)


def _in_levels(epsilon: float) -> str:
    levels = epsilon * 255
    whole = abs(levels - round(levels)) < 1e-6
    return f"{round(levels)}/255" if whole and levels else f"{epsilon:g}"


def _attacked_frames(subject: AgentSubject, epsilons: Sequence[float], seed: int) -> Any:
    """A figure of a frame before and after the attacks, and what the agent then would do."""
    from matplotlib.figure import Figure

    observations = list(_observations(subject, seed, _STEPS))[-1]
    names, camera = subject.network.names, subject.camera
    scores = subject.scores(observations)
    cells = []
    for epsilon in (0.0, *epsilons):
        changed = _Attacked(subject, epsilon, True, seed).changed(observations)
        image = camera.images(changed).to(subject.network.device)
        with torch.no_grad():
            action = names[int(scores(image).argmax())]
        cells.append((_in_levels(epsilon), image[0], action))
    figure = Figure((1.9 * len(cells), 4.1), layout="constrained")
    grid = figure.subplots(2, len(cells), squeeze=False)
    for column, (size, image, action) in enumerate(cells):
        grid[0, column].imshow(as_colours(image, subject.network.stacked), vmin=0, vmax=1)
        colour = "black" if action == cells[0][2] else "crimson"
        grid[0, column].set_title(f"ε {size}: {action}", fontsize=9, color=colour, parse_math=False)
        difference = (image - cells[0][1]).cpu()
        most = float(difference.abs().max()) or 1.0
        shown = as_colours(0.5 + difference / most / 2, subject.network.stacked)
        grid[1, column].imshow(shown, vmin=0, vmax=1)
    grid[1, 0].set_ylabel("change, enlarged", fontsize=9)
    grid[0, 0].set_ylabel("newest frame", fontsize=9)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
    return figure


def _observations(subject: AgentSubject, seed: int, steps: int) -> Iterator[FlatObservation]:
    """What the agent observes in its first steps with evaluation seed `seed`."""
    env = subject.environment.make_vector(1, training=False)
    rng = generator(evaluation_seed(seed))
    try:
        transitions = Transitions(env)
        observations = transitions.reset(evaluation_seed(seed))
        for _ in range(steps):
            yield observations
            actions = subject.agent.act(
                observations, transitions.action_masks, transitions.episode_starts, rng
            )
            observations = transitions.step(actions).next_observations
    finally:
        env.close()


def _usual_image(subject: AgentSubject, seed: int) -> Tensor:
    """The median of what the agent sees: the background without what moves."""
    played = _observations(subject, seed, _USUAL_STEPS)
    images = [subject.camera.images(observations)[0] for observations in islice(played, 0, None, 3)]
    return torch.stack(images).median(dim=0).values.to(subject.network.device)
