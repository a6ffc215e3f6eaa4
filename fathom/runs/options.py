"""What a training and a fit can be asked for: flags of the command line, keywords of the Python API."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from fathom.schema import STRICT

Device = Literal["auto", "cpu", "cuda"]
MOST = 1 << 53
"""Up to here the floating-point numbers that steps are plotted in tell whole numbers apart."""
Steps = Annotated[int, Field(ge=1, le=MOST)]
Keep = Literal["latest", "best"]
MOST_EPISODES = 1_000_000
Episodes = Annotated[int, Field(ge=0, le=MOST_EPISODES)]
SomeEpisodes = Annotated[int, Field(ge=1, le=MOST_EPISODES)]
Seed = Annotated[int, Field(ge=0, le=(1 << 63) - 1)]
Threads = Annotated[int, Field(ge=1, le=1024)]
NumEnvs = Annotated[int, Field(ge=1, le=256)]


@dataclass(frozen=True, config=STRICT)
class TrainOptions:
    """The run."""

    steps: Steps = 100_000
    """Agent steps, over all environments."""
    seed: Seed = 0
    """All randomness of the run derives from it."""
    name: str | None = None
    """Name of the run's folder; None makes one from environment and agent."""
    runs_dir: Path = Path("runs")
    """Folder in which runs are written."""
    segment_steps: Steps | None = None
    """Steps from one checkpoint to the next; None means 10,000 times num_envs."""
    evaluation_episodes: Episodes = 20
    """Episodes of the evaluation at each checkpoint; 0 for none."""
    evaluation_envs: NumEnvs | None = None
    """Environments of an evaluation side by side; None means num_envs, but 16 at most."""
    early_stop: float | None = None
    """Mean of an evaluation at which the training ends; None for none."""
    keep: Keep = "latest"
    """Checkpoints that stay: the latest three, or that of the best evaluation as well."""
    weights: str | None = None
    """Run of the same agent whose latest trained weights are the initial ones."""
    encoder: str | None = None
    """Run whose latest trained encoder of images is the initial one: of any agent, or a fit of autoencoder --network
    convolutional."""
    device: Device = "auto"
    """Where networks run; auto takes a GPU where there is one."""
    threads: Threads | None = None
    """CPU threads; None means one a core. Results are bit-identical only for the same number."""
    preset: Path | None = None
    """File of a preset, such as a sweep writes; it is taken in place of Fathom's own."""
    wrap: tuple[str, ...] = ()
    """Wrapper round the environment: module:Wrapper or file.py:Wrapper, then perhaps its arguments as a JSON
    object; again for another around it."""
    grey: bool = False
    """Make the environment's pictures grey."""
    resize: str | None = None
    """Resize the environment's pictures to 84, or 84x96 of height and width."""
    frame_stack: Annotated[int, Field(ge=1, le=64)] = 1
    """How many of the last observations the agent gets together."""
    record: bool = False
    """Record an episode at the end."""
    keep_replay: bool = False
    """Keep the replay memory after the end, so that the run can be extended."""


@dataclass(frozen=True, config=STRICT)
class FitOptions:
    """The run."""

    data: str = ""
    """Data to learn from: a name, a path or SCHEME:NAME; the task's own if empty."""
    seed: Seed = 0
    """All randomness of the run derives from it."""
    name: str | None = None
    """Name of the run's folder; None makes one from data and task."""
    runs_dir: Path = Path("runs")
    """Folder in which runs are written."""
    device: Device = "auto"
    """Where networks run; auto takes a GPU where there is one."""
    threads: Threads | None = None
    """CPU threads; None means one a core. Results are bit-identical only for the same number."""
    preset: Path | None = None
    """File of a preset, such as a sweep writes; it is taken in place of Fathom's own."""
