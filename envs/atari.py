"""Atari games through the Arcade Learning Environment's C++ vector environment.

Observation: (4, 84, 84) uint8, the last four decisions' grey frames, newest last, zeros before an
episode's start; each is the pixelwise maximum of the last two of 4 skipped frames. Action: the
game's minimal set, or all 18. Reward: the game's score, raw.

Two protocols are in use in the field, and a score means nothing without its name:

* `machado` (Machado et al. 2018, "Revisiting the Arcade Learning Environment"): the last action is
  repeated with probability 0.25 in every frame, and losing a life is no signal. As in `ALE/…-v5`
  and Dopamine the minimal action set is the default; the paper recommends all 18 actions.
* `nature` (Mnih et al. 2015): no sticky actions, up to 30 no-ops at the start, and in training a
  lost life ends an episode.
"""

import copy
import dataclasses
import re
from typing import Any, Literal

import ale_py
import gymnasium as gym
import numpy as np
from ale_py import roms
from ale_py.vector_env import AtariVectorEnv
from gymnasium.vector import AutoresetMode, VectorEnv
from PIL import Image
from pydantic.dataclasses import dataclass

from envs.arguments import STRICT
from envs.hooks import WorldError

FRAME_SKIP = 4
FRAME_STACK = 4
MAX_FRAMES = 108_000  # 30 minutes of play, as in all the literature


@dataclasses.dataclass(frozen=True)
class Protocol:
    """The settings of the emulator that make a protocol."""

    sticky_actions: float
    """Probability that a frame repeats the action before."""
    noop_max: int
    """Largest number of random no-ops at the start of a game."""
    life_loss: bool
    """Whether a lost life ends a training episode."""


PROTOCOLS = {"machado": Protocol(0.25, 0, False), "nature": Protocol(0.0, 30, True)}


@dataclass(frozen=True, config=STRICT)
class AtariConfig:
    """The environment's own arguments."""

    protocol: Literal["machado", "nature"] = "machado"
    full_action_space: bool = False


def is_atari(env_id: str) -> bool:
    """Whether the id names an ALE game."""
    return env_id.startswith("ALE/")


def make_vector(env_id: str, num_envs: int, config: AtariConfig, training: bool) -> VectorEnv:
    """Return `num_envs` copies of a game, stepped by ALE's own threads.

    Args:
        env_id: such as `ALE/Pong-v5`.
        num_envs: how many.
        config: the protocol.
        training: whether to give the signals for the learner only (the life loss of `nature`).

    Raises:
        WorldError: there is no such game.
    """
    life_loss = PROTOCOLS[config.protocol].life_loss and training
    # ALE's `episodic_life` starts a new game after every life; with this signal the game goes on.
    env = _make(env_id, num_envs, config, stack_num=FRAME_STACK, life_loss_info=life_loss)
    env.metadata = {**env.metadata, "life_loss": life_loss, "frame_stack": FRAME_STACK}
    return env


def make_single(env_id: str, config: AtariConfig, render_mode: str | None) -> gym.Env:
    """Return one game that can be rendered, with the observations of the vector environment."""
    return AtariSingle(env_id, config, render_mode)


class AtariSingle(gym.Env):
    """One game on ALE's vector environment, so that the picture shows what was observed.

    `render` returns the last observed frame in colour: a second emulator with RGB output plays the same
    seed and the same actions.
    """

    def __init__(self, env_id: str, config: AtariConfig, render_mode: str | None = None) -> None:
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": 60 // FRAME_SKIP}
        self.render_mode = render_mode
        self._env_id, self._config = env_id, config
        self._env = make_vector(env_id, 1, config, training=False)
        self._twin: VectorEnv | None = None
        if render_mode == "rgb_array":
            self._twin = _make(
                env_id, 1, config, stack_num=1, img_height=210, img_width=160, grayscale=False
            )
        self._picture = np.zeros((210, 160, 3), np.uint8)
        self.observation_space = self._env.single_observation_space
        self.action_space = self._env.single_action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        seed = int(self.np_random.integers(2**31)) if seed is None else seed
        observations, _ = self._env.reset(seed=seed)
        if self._twin is not None:
            self._picture = self._twin.reset(seed=seed)[0][0, -1]
        return observations[0].copy(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        actions = np.array([action], dtype=np.int64)
        observations, rewards, terminated, truncated, info = self._env.step(actions)
        if self._twin is not None:
            self._picture = self._twin.step(actions)[0][0, -1]
        return (
            observations[0].copy(),
            float(rewards[0]),
            bool(terminated[0]),
            bool(truncated[0]),
            {"lives": int(info["lives"][0])},
        )

    def get_action_meanings(self) -> list[str]:
        """Names of the actions, as in Gymnasium's own environments for Atari."""
        game, path = ale_py.ALEInterface(), roms.get_rom_path(_rom(self._env_id))
        assert path is not None  # the game is being played
        game.loadROM(path)
        full = self._config.full_action_space
        actions = game.getLegalActionSet() if full else game.getMinimalActionSet()
        return [action.name for action in actions]

    def render(self) -> np.ndarray:  # type: ignore[override]
        """(210, 160, 3) uint8, the screen at its true size."""
        return self._picture.copy()

    def close(self) -> None:
        self._env.close()
        if self._twin is not None:
            self._twin.close()


class AtariCopyable(gym.Env):
    """One game that can be copied in the midst of an episode by `copy.deepcopy`, for planning.

    The rules are those of `make_vector`. Observations are too, but shrunk by Pillow, so that a grey value may differ by a
    little. A game and its copies share an emulator, which goes back and forth between their states.
    """

    def __init__(self, env_id: str, config: AtariConfig, render_mode: str | None = None) -> None:
        self.metadata = {
            "render_modes": ["rgb_array"],
            "render_fps": 60 // FRAME_SKIP,
            "frame_stack": FRAME_STACK,
        }
        self.render_mode = render_mode
        self._protocol = PROTOCOLS[config.protocol]
        self._emulator = _Emulator(_rom(env_id))
        ale = self._emulator.ale
        full = config.full_action_space
        self._actions = list(ale.getLegalActionSet() if full else ale.getMinimalActionSet())
        self.action_space = gym.spaces.Discrete(len(self._actions))
        self.observation_space = gym.spaces.Box(0, 255, (FRAME_STACK, 84, 84), np.uint8)
        self._frames = np.zeros((FRAME_STACK, 84, 84), np.uint8)
        self._state: ale_py.ALEState | None = None
        """The emulator's, while another game is in it."""
        self._pressed = ale_py.Action.NOOP
        """The action of the last frame, which may stick. (The emulator's own is in none of its states.)"""
        self._frames_played = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        ale = self._hold()
        ale.reset_game()
        self._pressed = ale_py.Action.NOOP
        self._frames_played = int(self.np_random.integers(self._protocol.noop_max + 1))
        for _ in range(self._frames_played):
            ale.act(self._pressed)
        self._frames = np.zeros_like(self._frames)
        self._see(ale.getScreenGrayscale())
        return self._frames.copy(), {"lives": ale.lives()}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        ale, sticky = self._hold(), self._protocol.sticky_actions
        reward = 0.0
        screens: list[np.ndarray] = []
        for frame in range(FRAME_SKIP):
            if self.np_random.random() >= sticky:
                self._pressed = self._actions[action]
            reward += ale.act(self._pressed)
            self._frames_played += 1
            over = ale.game_over()
            if over or frame >= FRAME_SKIP - 2:
                screens.append(ale.getScreenGrayscale())
            if over:
                break
        self._see(np.max(screens[-2:], axis=0))
        cut = not over and self._frames_played >= MAX_FRAMES
        return self._frames.copy(), reward, bool(over), cut, {"lives": ale.lives()}

    def render(self) -> np.ndarray:  # type: ignore[override]
        """(210, 160, 3) uint8, the screen at its true size."""
        return self._hold().getScreenRGB()

    def __deepcopy__(self, memo: dict[int, Any]) -> "AtariCopyable":
        """Return a copy that goes on by itself, in the same emulator."""
        ale = self._hold()
        other = copy.copy(self)
        memo[id(self)] = other
        other._state, other._frames = ale.cloneState(), self._frames.copy()
        other._np_random = copy.deepcopy(self._np_random, memo)
        return other

    def _hold(self) -> ale_py.ALEInterface:
        """Bring this game into the emulator, whose game before is put away."""
        emulator = self._emulator
        if emulator.holder is not self:
            if emulator.holder is not None:
                emulator.holder._state = emulator.ale.cloneState()
            if self._state is not None:
                emulator.ale.restoreState(self._state)
            emulator.holder, self._state = self, None
        return emulator.ale

    def _see(self, screen: np.ndarray) -> None:
        picture = Image.fromarray(screen).resize((84, 84), Image.Resampling.BOX)
        self._frames = np.concatenate([self._frames[1:], np.asarray(picture)[None]])


class _Emulator:
    """An emulator, and the game that is in it."""

    def __init__(self, rom: str) -> None:
        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
        self.ale = ale_py.ALEInterface()
        self.ale.setFloat("repeat_action_probability", 0.0)
        path = roms.get_rom_path(rom)
        assert path is not None
        self.ale.loadROM(path)
        self.holder: AtariCopyable | None = None


def describe(env_id: str, config: AtariConfig) -> dict[str, str | int | float | bool]:
    """Return the protocol that is printed and stored with every run and score."""
    protocol = PROTOCOLS[config.protocol]
    return {
        "environment": env_id,
        "name": config.protocol,
        "sticky_actions": protocol.sticky_actions,
        "frame_skip": FRAME_SKIP,
        "frame_stack": FRAME_STACK,
        "max_pool": True,
        "noop_max": protocol.noop_max,
        "life_loss_ends_training_episode": protocol.life_loss,
        "action_set": "full" if config.full_action_space else "minimal",
        "max_frames": MAX_FRAMES,
        "ale_py": ale_py.__version__,
    }


def _make(env_id: str, num_envs: int, config: AtariConfig, **arguments: Any) -> AtariVectorEnv:
    protocol = PROTOCOLS[config.protocol]
    return AtariVectorEnv(
        _rom(env_id),
        num_envs,
        max_num_frames_per_episode=MAX_FRAMES,
        repeat_action_probability=protocol.sticky_actions,
        full_action_space=config.full_action_space,
        autoreset_mode=AutoresetMode.NEXT_STEP,
        frameskip=FRAME_SKIP,
        noop_max=protocol.noop_max,
        reward_clipping=False,
        use_fire_reset=False,
        **arguments,
    )


def _rom(env_id: str) -> str:
    match = re.fullmatch(r"ALE/(\w+)-v5", env_id)
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", match[1]).lower() if match else ""
    known = {rom.replace("_", ""): rom for rom in roms.get_all_rom_ids()}
    rom = known.get(name.replace("_", ""))
    if rom is None:
        raise WorldError(f"there is no Atari game {env_id!r}; ids look like ALE/Pong-v5")
    return rom
