"""The environment Dialogue, one dialogue with a simulated user at a time.

`envs.dialogue.vector` is the same environment as a vector environment. Both call the same compiled functions
for user, channel and belief.
"""

from typing import Any

import gymnasium as gym
import numpy as np

from envs.dialogue import belief, rules, user
from envs.dialogue.channel import CONFIDENCE, transmit
from envs.dialogue.config import DialogueConfig
from envs.dialogue.domain import NONE
from envs.dialogue.frames import KINDS, AgentFrame, Kind, frame_of, value_word
from envs.dialogue.goals import Goal, goal_of, new_goal
from envs.dialogue.tables import DialogueState, new_states
from envs.dialogue.text import Words
from envs.dialogue.transcript import Turn, as_json_lines, as_text, beliefs, in_words
from envs.hooks import TrainedRun, WorldError


class Dialogue(gym.Env):
    """A task-completion dialogue: the agent finds out what a user wants, answers questions and books.

    Registered id: `Fathom/Dialogue-v0`.

    Observation: `Box(0, 1, (18·slots + 24,), float32)`, the agent's belief; see `envs.dialogue.belief`, and
    `fields` for the names of its parts.
    Actions: `Discrete(A)`, listed in `acts`: ask for a slot, tell a slot's value from the matching row, ask to
    confirm a slot, say that nothing matches, book. `info["action_mask"]`, (A,) int8, is 1 for those that make
    sense; `envs.dialogue.belief.act` replaces the others.
    Rewards (Li et al. 2017): −1 a turn; at the end +4·max_turns for success or −2·max_turns for failure. (The
    paper's factors are 2 and 1, because it counts the turns of both sides.)
    Termination: when the agent books, or after `max_turns` turns of the agent, which is a failure.
    Success: the booked row meets every constraint of the user's goal, every question was answered from that
    row, and the values that only the user knows were understood.
    `info` also has `success`, `reason` (one of `reasons`; "" while the dialogue goes on) and `turns`.

    Args:
        understanding: a fit of slot-filling that reads the users' words if the language is "text". The user
            gives its name or folder.
        arguments: the other arguments are the fields of `DialogueConfig`.

    Raises:
        ValueError: an argument is wrong.
    """

    metadata = {
        "render_modes": ["rgb_array", "ansi"],
        "render_fps": 1,
        "measures": ("success", "turns"),
    }
    path_arguments = {"domain": (".yaml", ".yml")}
    run_arguments = {"understanding": ()}

    def __init__(
        self,
        domain: str = "movie",
        split: Any = "train",
        slot_error: float = 0.0,
        intent_error: float = 0.0,
        max_turns: int = 20,
        rule: Any = "worthy",
        language: Any = "frames",
        understanding: TrainedRun | str | None = None,
        render_mode: str | None = None,
    ) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise WorldError(f"there is no render mode {render_mode!r}")
        self.config = DialogueConfig(
            domain=domain,
            split=split,
            slot_error=slot_error,
            intent_error=intent_error,
            max_turns=max_turns,
            rule=rule,
            language=language,
        )
        self.render_mode = render_mode
        parts = self.config.load()
        self.domain, self.tables, self.acts = parts.domain, parts.tables, parts.acts
        self.words = Words(self.domain, understanding) if language == "text" else None
        self.observation_space = parts.observation_space
        self.action_space = parts.action_space
        self.fields = belief.fields(len(self.domain.slots))
        """Names and slices of an observation's parts."""
        self.reasons = user.reasons(tuple(slot.name for slot in self.domain.slots))
        """All values of `info["reason"]`."""
        self.state = DialogueState(*(array[0] for array in new_states(self.tables, 1)))
        self.turns: list[Turn] = []
        self.brief = self.goal
        """The user's goal at the start, with its first wish."""
        self.reason = ""
        """Why the dialogue is over; "" while it goes on."""
        self._actions = rules.actions_of(self.tables, self.acts)
        self._seeded = False

    @property
    def goal(self) -> Goal:
        """The user's present goal; a user that has changed its mind has no first wish any more."""
        return goal_of(self.domain, self.state.goal)

    def protocol(self) -> dict[str, int | str]:
        """Return the rules that a score depends on."""
        return {
            "domain": self.config.domain,
            "domain_digest": self.domain.digest(),
            "max_turns": self.config.max_turns,
        }

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin with a new user, who speaks first. The same seed gives the same users, now and later."""
        super().reset(seed=seed)
        if seed is None and not self._seeded:
            seed = int(self.np_random.integers(2**31))
        if seed is not None:
            self.state.random[0] = seed
        self._seeded = True
        state = self.state
        new_goal(self.tables, state.goal, state.rows, state.random)
        self.brief = self.goal
        self.begin()
        user.begin(self.tables, state)
        self._take_turn(None)
        return self._seen(user.ONGOING)

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Perform the agent's act, and let the user reply."""
        state, numbers = self.state, self.state.numbers
        agent_frame = self.speak(action)
        if agent_frame.kind == "book":
            reason = user.judge(self.tables, state, numbers[belief.ROW])
            self.turns.append(Turn(agent_frame, None, None, 1.0))
        else:
            user.reply(
                self.tables,
                state,
                numbers[belief.KIND],
                numbers[belief.SLOT],
                numbers[belief.VALUE],
            )
            self._take_turn(agent_frame)
            late = numbers[belief.TURNS] >= self.config.max_turns
            reason = user.TOO_LONG if late else user.ONGOING
        reward = user.reward(self.tables, reason)
        observation, info = self._seen(reason)
        return observation, reward, reason != user.ONGOING, False, info

    def begin(self) -> None:
        """Reset belief and turns. For callers that take the user's place."""
        belief.clear(self.tables, self.state)
        self.turns, self.reason = [], ""

    def speak(self, action: int) -> AgentFrame:
        """Perform the agent's act and return its frame."""
        belief.act(self.tables, self.state, int(action))
        kind, slot, value, row = (
            int(self.state.numbers[place])
            for place in (belief.KIND, belief.SLOT, belief.VALUE, belief.ROW)
        )
        domain = self.domain
        name: Kind = KINDS[kind]
        if name == "book":
            booked = domain.row(row)
            for own, about in enumerate(domain.slots):
                if not about.column and self.state.values[0, own] != NONE:
                    booked[about.name] = value_word(domain, own, int(self.state.values[0, own]))
            return AgentFrame("book", row=booked)
        if name == "no_match":
            return AgentFrame("no_match")
        word = None if name == "request" else value_word(domain, slot, value)
        return AgentFrame(name, domain.slots[slot].name, word)

    def listen(self, heard: np.ndarray, confidence: float) -> None:
        """Update the belief with a frame, (2 + S,) integers, and a confidence from 0 to 1."""
        self.state.heard[:] = heard
        self.state.trust[CONFIDENCE] = confidence
        belief.hear(self.tables, self.state)

    def _take_turn(self, agent_frame: AgentFrame | None) -> None:
        """Pass what the user said through words and channel to the agent."""
        state, domain = self.state, self.domain
        truth, sentence, sure = state.said, None, 1.0
        if self.words is not None:
            (sentence,), (truth,), (sure,) = self.words.convey(state.said[None], state.random[None])
        transmit(self.tables, state._replace(said=truth))
        confidence = float(state.trust[CONFIDENCE] * sure)
        self.listen(state.heard, confidence)
        meant, heard = frame_of(domain, state.said), frame_of(domain, state.heard)
        self.turns.append(Turn(agent_frame, meant, heard, confidence, sentence))

    def expert_action(
        self, observations: np.ndarray, action_masks: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the rule agent's actions, (n,) int64, for observations (n, d) float32."""
        rule = rules.worthy if self.config.rule == "worthy" else rules.weak
        return rule(observations, self._actions)

    def observation(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the present observation and action mask, (A,) bool."""
        shape = self.observation_space.shape
        assert shape is not None
        seen, mask = np.zeros(shape, np.float32), np.zeros(len(self.acts), bool)
        belief.observe(self.tables, self.state, seen, mask)
        return seen, mask

    def render(self) -> Any:
        """Return a picture, (720, 1040, 3) uint8, or the dialogue so far as text."""
        if self.render_mode == "ansi":
            return self.transcript()[".txt"]
        if self.render_mode is None:
            raise WorldError(
                "nothing can be rendered: the environment was made without a render mode"
            )
        from envs.dialogue.rendering import Scene, picture

        numbers = self.state.numbers
        scene = Scene(
            self.domain.task,
            self.brief,
            in_words(self.domain, self.turns),
            beliefs(self.domain, self.state),
            int(numbers[belief.MATCHES]),
            len(self.domain.rows),
            int(numbers[belief.TURNS]),
            self.config.max_turns,
            self.reason,
        )
        return picture(scene)

    def transcript(self) -> dict[str, str]:
        """Return the dialogue so far as JSON lines and as text, by the suffix of their files."""
        messages = in_words(self.domain, self.turns)
        return {
            ".jsonl": as_json_lines(self.domain, self.brief, messages, self.reason),
            ".txt": as_text(self.brief, messages, self.reason),
        }

    def _seen(self, reason: int) -> tuple[np.ndarray, dict[str, Any]]:
        self.reason = self.reasons[reason]
        observation, mask = self.observation()
        return observation, {
            "action_mask": mask.view(np.int8),
            "success": reason == user.SUCCESS,
            "reason": self.reason,
            "turns": int(self.state.numbers[belief.TURNS]),
        }
