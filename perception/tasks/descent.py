"""Gradient descent seen on surfaces in two dimensions: a local minimum, a saddle, a plateau, a ravine.

Nothing is learnt from data: the "weights" are points on a surface, and each start is descended from by stochastic
gradient descent, by the same with momentum (Polyak 1964), and by Adam (Kingma & Ba 2015), all with one learning
rate. The table says where each ends, beside SciPy's BFGS; a picture and a video show the paths.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch
from pydantic import Field, PositiveFloat
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.utils.data import Dataset

from perception.data.datasets import Tensors
from perception.data.surfaces import SURFACES, bfgs, ending, lowest_of, read_starts, start_of
from perception.tasks.clipping import clipping_picture
from perception.tasks.task import STRICT, DataSource, Epochs, Metric, Task, TaskData

if TYPE_CHECKING:
    from matplotlib.figure import Figure


METHODS = ("SGD", "momentum", "Adam")
_COLOURS = ("tab:red", "tab:orange", "tab:blue")
_POINTS = 501
"""A path is kept as this many points at most: of longer ones every second update, every fourth, and so on."""
_FRAMES = 60


_MOST_UPDATES = 100_000
"""To ask about another start makes all of them."""


@dataclass(frozen=True, config=STRICT)
class DescentConfig:
    """The descent."""

    epochs: Epochs = 20
    """Rounds of `passes` updates, with an evaluation after each."""
    passes: Epochs = 50
    """Updates of an epoch."""
    learning_rate: PositiveFloat = 0.02
    """Learning rate of every method."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Momentum of the second method."""
    noise: Annotated[float, Field(ge=0)] = 0.0
    """Standard deviation of normal noise that is added to every gradient, as small batches would."""

    def __post_init__(self) -> None:
        if self.epochs * self.passes > _MOST_UPDATES:
            raise ValueError(f"epochs x passes must be at most {_MOST_UPDATES:,}")


class Descent(Task):
    """Points on surfaces; the one batch is the number of the surface (n,) and the start (n, 2)."""

    Config = DescentConfig
    default_data = "surfaces"
    path: Tensor
    """(points, methods, starts, 2): where each was after 0, `stride`, 2·`stride` … updates."""
    stride: Tensor
    updates: Tensor

    def __init__(self, config: DescentConfig, metadata: Mapping[str, Any]) -> None:
        super().__init__(config, metadata)
        surfaces = [name for name, _, _ in metadata["starts"]]
        self.members = {
            name: torch.tensor([at for at, other in enumerate(surfaces) if other == name])
            for name in dict.fromkeys(surfaces)
        }
        """Numbers of the starts on each surface."""
        starts = torch.tensor([[x, y] for _, x, y in metadata["starts"]])
        self.points = nn.ParameterList(starts.clone() for _ in METHODS)
        self.register_buffer("path", starts.expand(_POINTS, len(METHODS), *starts.shape).clone())
        self.register_buffer("stride", torch.ones((), dtype=torch.int64))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        rate = config.learning_rate
        sgd, momentum, adam = ([point] for point in self.points)
        # All three compute number by number: one optimizer for all starts is the same as one for each.
        self.optimizers = {
            "SGD": torch.optim.SGD(sgd, rate),
            "momentum": torch.optim.SGD(momentum, rate, momentum=config.momentum),
            "Adam": torch.optim.Adam(adam, rate),
        }

    @classmethod
    def load_data(cls, config: DescentConfig, source: DataSource) -> TaskData:
        location = source.locate({"surfaces": "Fathom"})
        if location.kind == "shipped":
            starts = [(name, *xy) for name, one in SURFACES.items() for xy in one.starts]
        else:
            starts = read_starts(location.path)
        names = list(SURFACES)
        surfaces = torch.tensor([names.index(name) for name, _, _ in starts])
        data = Tensors(surfaces, torch.tensor([[x, y] for _, x, y in starts]))
        sizes = {"train": len(data), "test": len(data)}
        origin = {
            "name": source.reference,
            "found": location.found,
            "licence": "none: formulas",
            **sizes,
        }
        return TaskData(
            data, data, {"starts": [list(row) for row in starts]}, origin, config.passes
        )

    def batches(self, dataset: Dataset[Any], *, training: bool) -> Iterator[Any]:
        """All starts at once, always in the same order."""
        assert isinstance(dataset, Tensors)
        yield tuple(tensor.to(self.device) for tensor in dataset.tensors)

    def heights(self, points: Tensor) -> Tensor:
        """Heights (methods, n) of points (methods, n, 2) above the lowest of their surface."""
        heights = torch.empty_like(points[..., 0])
        for name, members in self.members.items():
            heights[:, members] = SURFACES[name].value(points[:, members]) - lowest_of(name)
        return heights

    def train_step(self, batch: Any, step: int) -> dict[str, Tensor]:
        heights = self.heights(torch.stack(list(self.points)))
        noise = self.config.noise * torch.randn_like(self.points[0])
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()
        heights.sum().backward()
        for points, optimizer in zip(self.points, self.optimizers.values(), strict=True):
            points.grad += noise
            optimizer.step()
        self.updates.fill_(step + 1)
        self._keep_points(step + 1)
        means = heights.detach().mean(dim=1)
        return {f"height_{name}": mean for name, mean in zip(METHODS, means, strict=True)}

    @torch.no_grad()
    def _keep_points(self, updates: int) -> None:
        if updates > (_POINTS - 1) * int(self.stride):
            self.path[: _POINTS // 2 + 1] = self.path[::2].clone()
            self.stride *= 2
        if updates % int(self.stride) == 0:
            self.path[updates // int(self.stride)] = torch.stack(list(self.points))

    def evaluate(self, batches: Iterable[Any]) -> dict[str, Metric]:
        points = torch.stack(list(self.points)).detach()
        heights = self.heights(points).cpu().double().numpy()
        table: list[list[Any]] = [["surface", "start", *METHODS, "BFGS (SciPy)"]]
        for number, (name, x, y) in enumerate(self.metadata["starts"]):
            ends = [*points[:, number].cpu(), bfgs(name, (x, y))]
            table.append([name, f"({x:g}, {y:g})", *(ending(name, end) for end in ends)])
        each = {
            f"height by {name}": Metric(row) for name, row in zip(METHODS, heights, strict=True)
        }
        return {"height above the minimum": Metric(heights.mean(axis=0), table=table)} | each

    def pictures(self, batches: Iterable[Any]) -> dict[str, Figure | np.ndarray]:
        """The paths on contours, a video of them, and the cliff of a recurrent network."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        count = int(self.updates) // int(self.stride) + 1
        path = self.path[:count].cpu().numpy()
        still, _ = self._draw(path)
        figure, lines = self._draw(path)
        canvas = FigureCanvasAgg(figure)
        for line in lines.values():
            line.set_visible(False)
        title = figure.text(0.01, 0.01, "", fontsize=10)
        canvas.draw()
        ground: Any = canvas.copy_from_bbox(figure.bbox)
        frames = []
        # Time goes slowly at first, where most happens; the last frame stays for a while.
        for time in [*np.linspace(0, 1, _FRAMES) ** 2, *[1] * (_FRAMES // 4)]:
            until = round((count - 1) * time)
            canvas.restore_region(ground)
            title.set_text(f"update {until * int(self.stride):,}")
            figure.draw_artist(title)
            for (method, start), line in lines.items():
                line.set_data(*path[: until + 1, method, start].T)
                line.set_visible(True)
                figure.draw_artist(line)
            frames.append(np.asarray(canvas.buffer_rgba())[..., :3].copy())
        return {"paths": still, "descent": np.stack(frames), "clipping": clipping_picture()}

    def _draw(self, path: np.ndarray) -> tuple[Figure, dict[tuple[int, int], Any]]:
        """Contours with paths (points, methods, starts, 2); also the lines by method and start."""
        from matplotlib.figure import Figure

        rows, columns = -(-len(self.members) // 2), min(2, len(self.members))
        figure = Figure((3.6 * columns, 3.6 * rows + 0.3), layout="constrained", dpi=80)
        lines: dict[tuple[int, int], Any] = {}
        for number, (name, members) in enumerate(self.members.items(), 1):
            axes = figure.add_subplot(rows, columns, number)
            surface = SURFACES[name]
            left, right, bottom, top = surface.window
            x, y = np.meshgrid(np.linspace(left, right, 120), np.linspace(bottom, top, 120))
            heights = surface.value(torch.from_numpy(np.stack([x, y], axis=-1))) - lowest_of(name)
            levels = np.log(heights.clamp(min=0).numpy() + 0.01)
            axes.contourf(x, y, levels, 12, cmap="Greys_r", alpha=0.45)
            axes.plot(*surface.lowest, "*", color="black", markersize=11)
            axes.set(xlim=(left, right), ylim=(bottom, top), title=name)
            for start in members.tolist():
                for method, colour in enumerate(_COLOURS):
                    (line,) = axes.plot(*path[:, method, start].T, "-o", color=colour)
                    line.set(label=METHODS[method], markevery=[-1], markersize=5, linewidth=1.6)
                    lines[method, start] = line
                axes.plot(*path[0, 0, start], "s", color="white", markeredgecolor="black", ms=6)
        handles = [line for (_, start), line in lines.items() if start == 0]
        figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
        return figure, lines

    @torch.enable_grad()
    def predict(self, inputs: Sequence[Any]) -> list[dict[str, Any]]:
        """Where the descent from starts of a user's own ends, each a text such as "ravine -1.5 2"."""
        starts = [
            start_of(item.split() if isinstance(item, str) else [], repr(item)) for item in inputs
        ]
        if not starts:
            return []
        task = Descent(self.config, {"starts": starts}).to(self.device)
        for step in range(self.config.epochs * self.config.passes):
            task.train_step(None, step)
        return [
            {"input": item}
            | {
                method: ending(name, points[at].detach().cpu())
                for method, points in zip(METHODS, task.points, strict=True)
            }
            for at, (item, (name, _, _)) in enumerate(zip(inputs, starts, strict=True))
        ]
