"""The environment TCBot: movie tickets, as in TC-Bot, one dialogue at a time.

It has the user simulator of Li et al. 2016 ("A User Simulator for Task-Completion Dialogues") and the state,
actions and rewards of Li et al. 2017 ("End-to-End Task-Completion Neural Dialogue Systems"), so that the
published figures can be reproduced: success near 0.40 in 16 turns for the rule agent, near 0.91 for their
DQN. For anything else use `envs.dialogue.dialogue`.

`envs.dialogue.tc_bot_vector` is the same environment as a compiled vector environment.

Some peculiarities of their program are kept, because the figures depend on them:

- A state counts the showings that fit everything known. "number of people", a slot that no showing has,
  makes that count 0; so does a ticket that was offered.
- A showing's "Seattle" fits a wish for "seattle", but as an answer it is a different city.
- What the agent says stays a condition of its later look-ups, "nothing fits" included.

Their error channel has two faults. `errors="paper"` keeps both, `errors="corrected"` has neither:

- The user remembers what was heard, not what it said: a misheard wish fails the dialogue unless the agent
  asks for it again.
- A slot that should be replaced by another slot is lost instead.

Two faults of their experiments are outside the environment: training adds the evaluation's dialogues to the
replay memory, and the best of many tests is reported. They also train and test on the same goals;
`goals="held_out"` keeps a fifth of the different goals for tests (their list of 128 has 90 different ones).
"""

import dataclasses
from collections import Counter
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from pydantic.dataclasses import dataclass

from envs.arguments import STRICT, Probability
from envs.dialogue.tc_bot_data import (
    ACTS,
    ANY,
    AVAILABLE,
    NO_MATCH,
    SLOTS,
    Goal,
    MovieData,
    load_movie_data,
)
from envs.hooks import WorldError
from envs.random import below, chance

MAX_TURN = 40
"""Turns of both sides together, two an exchange; the exchange after them fails."""

REQUESTABLE = (
    "moviename", "theater", "starttime", "date", "numberofpeople", "genre", "state", "city", "zip",
    "critic_rating", "mpaa_rating", "distanceconstraints", "video_format", "theater_chain", "price",
    "actor", "description", "other", "numberofkids",
)  # fmt: skip
INFORMABLE = (
    *(slot for slot in REQUESTABLE if slot != "numberofpeople"), "taskcomplete", "ticket",
)  # fmt: skip

ACTIONS: tuple[tuple[str, str | None], ...] = (
    *((act, None) for act in ("confirm_question", "confirm_answer", "thanks", "deny")),
    *(("inform", slot) for slot in INFORMABLE),
    *(("request", slot) for slot in REQUESTABLE),
)
"""The agent's 43 actions: (act, slot)."""

RULE = (
    *(("request", slot) for slot in REQUESTABLE[:1]),
    *(("request", slot) for slot in ("starttime", "city", "date", "theater", "numberofpeople")),
    ("inform", "taskcomplete"),
    ("thanks", None),
)
"""The paper's rule agent: the same eight actions in every dialogue."""

_SIZES = {
    "user act": len(ACTS),
    "user informs": len(SLOTS),
    "user requests": len(SLOTS),
    "agent act": len(ACTS),
    "agent informs": len(SLOTS),
    "agent requests": len(SLOTS),
    "known": len(SLOTS),
    "turn": 1,
    "turn one-hot": MAX_TURN + 4,
    "any fit": len(SLOTS) + 1,
    "how many fit": len(SLOTS) + 1,
}
_ENDS = np.cumsum(list(_SIZES.values())).tolist()
FIELDS = {
    name: slice(end - size, end) for (name, size), end in zip(_SIZES.items(), _ENDS, strict=True)
}
"""Slices of the parts of an observation.

"user act" one-hot, "user informs", "user requests": what was heard last. "agent act", "agent informs",
"agent requests": what the agent said before it. "known": slots with a value. "turn": turns so far, in tens.
"turn one-hot": the same one-hot. "any fit": whether a showing fits, for each slot its known value (without one,
everything known), and in the last place everything known. "how many fit": the numbers of such showings, in
hundreds."""

OBSERVATION_SPACE = spaces.Box(0, 1000, (_ENDS[-1],), np.float32)

SlotErrors = Literal["value", "slot", "drop", "mixed"]
Errors = Literal["paper", "corrected"]
Goals = Literal["all", "held_out"]
Split = Literal["train", "test"]


@dataclass(frozen=True, config=STRICT)
class TCBotConfig:
    """The arguments of `TCBot`. A wrong one raises a ValueError."""

    data: str = ""
    """Folder of the data; "" for $FATHOM_DATA/movie-dialogue. See `envs.dialogue.tc_bot_data`."""
    slot_error: Probability = 0.0
    """Probability that a slot's value is misheard."""
    slot_error_kind: SlotErrors = "value"
    """The error: another value, another slot with a value, dropped, or a random one of these."""
    intent_error: Probability = 0.0
    """Probability that the user's act is replaced by a random one."""
    errors: Errors = "paper"
    """Whether the channel has the faults of the paper's program; see `envs.dialogue.tc_bot`."""
    goals: Goals = "all"
    """"all": the same goals for training and test, as in the paper; "held_out": a fifth only for tests."""
    split: Split = "train"
    """Which of the goals, if some are held out."""

    def goals_of(self, data: MovieData) -> list[int]:
        """Return the numbers of the goals of this split."""
        if self.goals == "all":
            return list(range(len(data.goals)))
        different: dict[tuple, int] = {}
        for goal in data.goals:
            different.setdefault(_key(goal), len(different))
        # The paper's fold, of different goals: every fifth, from the second on.
        test = [different[_key(goal)] % 5 == 1 for goal in data.goals]
        chosen = [i for i, is_test in enumerate(test) if is_test == (self.split == "test")]
        if not chosen:
            raise WorldError(f"{len(different)} different goals are too few to hold some out")
        return chosen


def _key(goal: Goal) -> tuple:
    return tuple(sorted(goal.constraints.items())), goal.questions


@dataclasses.dataclass(frozen=True)
class Utterance:
    """What one side said: an act, values, and slots that are asked for."""

    act: str
    informs: dict[str, str]
    requests: tuple[str, ...] = ()


class _User:
    """The simulated user: wishes still to tell, questions still to ask, and a memory of the dialogue."""

    def __init__(self, goal: Goal, random: np.ndarray) -> None:
        self.goal = goal
        self.questions = {*goal.questions, "ticket"}
        self.random = random
        self.rest = {*goal.constraints, *self.questions}
        """Wishes not yet told and questions not yet answered."""
        self.open: set[str] = set()
        """Questions asked and not answered."""
        self.history: dict[str, str] = {}
        """The latest value of every slot that either side mentioned."""
        self.booked = False
        """Whether a booking was offered that meets every wish."""
        self.act = "request"
        self.told: dict[str, str] = {}
        """What the user says in its turn."""
        if goal.constraints:
            first = _choose(random, set(goal.constraints))
            for slot in {first, "moviename"} & set(goal.constraints):
                self._tell(slot)
        self.open.add(_choose(random, set(goal.questions)) if goal.questions else "ticket")

    def reply(self, said: Utterance) -> bool | None:
        """Answer the agent; return whether the dialogue succeeded, or None while it goes on."""
        self.history.update(self.told)
        self.told = {}
        if said.act == "thanks":
            return self._is_content()
        if said.act == "confirm_answer":
            self._go_on(self.rest, also_ticket=False)
        elif said.act == "request":
            self._answer(said.requests[0])
        elif "taskcomplete" in said.informs:
            self._judge(said.informs)
        elif said.act == "inform":
            ((slot, value),) = said.informs.items()
            self._listen(slot, value)
        return None

    def _tell(self, slot: str) -> None:
        self.told[slot] = self.goal.constraints[slot]
        self.rest.discard(slot)

    def _go_on(self, rest: set[str], also_ticket: bool) -> None:
        """Tell a wish or ask a question of `rest`; "thanks" if none is left."""
        if not rest:
            self.act = "thanks"
            return
        slot = _choose(self.random, rest)
        if slot in self.questions:
            self.act = "request"
            self.open.add(slot)
            return
        self.act = "inform"
        self._tell(slot)
        if also_ticket and "ticket" in self.rest:
            self.act = "request"
            self.open.add("ticket")

    def _answer(self, slot: str) -> None:
        if slot in self.goal.constraints:
            self.act = "inform"
            self._tell(slot)
            self.open.clear()
        elif slot in self.questions and slot in self.rest:
            self.act = "request"
            self.open.add(slot)
            for wish in self.rest & set(self.goal.constraints):
                self._tell(wish)
        elif slot in self.questions and slot in self.history:
            self.act = "inform"
            self.told[slot] = self.history[slot]
            self.open.clear()
        else:
            self.act = "inform" if self.open or self.rest else "thanks"
            self.told[slot] = ANY

    def _listen(self, slot: str, value: str) -> None:
        self.history[slot] = value
        wish = self.goal.constraints.get(slot)
        self.rest.discard(slot)
        if wish is not None and wish != value:
            self.act = "inform"
            self._tell(slot)
            return
        if wish is None:
            self.open.discard(slot)
        if self.open:
            self.act = "request"
        elif self.rest == {"ticket"}:
            self.act = "request"
            self.open.add("ticket")
        else:
            self._go_on(self.rest - {"ticket"}, also_ticket=wish is None)

    def _judge(self, offered: dict[str, str]) -> None:
        self.act, self.booked = "thanks", True
        if offered["taskcomplete"] == NO_MATCH:
            self.history["ticket"] = NO_MATCH
            self.rest.discard("ticket")
            self.open.discard("ticket")
        for slot, wish in self.goal.constraints.items():
            if offered.get(slot, "").lower() != wish.lower():
                self.act, self.booked = "deny", False
                self.open.clear()

    def _is_content(self) -> bool:
        wishes = self.goal.constraints
        return (
            self.booked
            and not (self.open | self.rest) - {"ticket"}
            and NO_MATCH not in self.history.values()
            and all(wishes.get(slot, value) == value for slot, value in self.history.items())
        )


def _choose(random: np.ndarray, slots: set[str]) -> str:
    ordered = [slot for slot in SLOTS if slot in slots]
    return ordered[below(random, len(ordered))]


class TCBot(gym.Env):
    """A dialogue about movie tickets, as in Li et al. 2017.

    Registered id: `Fathom/TCBot-v0`.

    Observation: `Box(272,)` float32, the paper's state; see `FIELDS`.
    Actions: `Discrete(43)`, listed in `ACTIONS`.
    Rewards: −1 an exchange; at the end +80 for success or −40 for failure.
    Termination: by "thanks" of either side, or in the 21st exchange, which is a failure.
    Success: a booking was offered that met every wish, every question was answered, and nothing in the
    user's memory contradicts its goal.
    `info` has `success` and `turns`, by the paper's count of two an exchange.

    Args:
        arguments: the fields of `TCBotConfig`.

    Raises:
        ValueError: an argument is wrong, or the data are missing or wrong.
    """

    metadata = {"render_modes": [], "measures": ("success", "turns")}
    path_arguments = {"data": ("",)}

    def __init__(
        self,
        data: str = "",
        slot_error: float = 0.0,
        slot_error_kind: Any = "value",
        intent_error: float = 0.0,
        errors: Any = "paper",
        goals: Any = "all",
        split: Any = "train",
        render_mode: str | None = None,
    ) -> None:
        if render_mode is not None:
            raise WorldError(f"there is no render mode {render_mode!r}")
        self.config = TCBotConfig(
            data=data,
            slot_error=slot_error,
            slot_error_kind=slot_error_kind,
            intent_error=intent_error,
            errors=errors,
            goals=goals,
            split=split,
        )
        self.render_mode = None
        self.observation_space = OBSERVATION_SPACE
        self.action_space = spaces.Discrete(len(ACTIONS))
        self.data = load_movie_data(data)
        self._goals = self.config.goals_of(self.data)
        # Sets of showings are bits of integers.
        self._fitting: dict[tuple[str, str], int] = {}
        for i, row in enumerate(self.data.rows):
            for slot, value in row.items():
                key = slot, value.lower()
                self._fitting[key] = self._fitting.get(key, 0) | 1 << i
        self._random: np.ndarray | None = None
        self.utterances: list[Utterance] = []
        """What the agent heard (user, agent, user, …)."""

    def protocol(self) -> dict[str, int | str]:
        """Return the rules that a score depends on."""
        return {"max_turn": MAX_TURN, "goals": self.config.goals}

    def expert_action(
        self, observations: np.ndarray, action_masks: np.ndarray | None
    ) -> np.ndarray:
        """Return the rule agent's actions, (n,), for observations (n, 272)."""
        return rule_agent(observations)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin a dialogue; the user speaks first, and its first frame is always heard rightly."""
        super().reset(seed=seed)
        if seed is None and self._random is None:
            seed = int(self.np_random.integers(2**31))
        if seed is not None:
            self._random = np.array([seed], np.uint64)
        assert self._random is not None
        goal = self._goals[below(self._random, len(self._goals))]
        self.user = _User(self.data.goals[goal], self._random)
        self.known: dict[str, str] = {}
        self.exchanges = 0
        self.utterances = []
        self._hear(self.user.told, self.user.act)
        return self._observation(), self._info(False)

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Say `ACTIONS[action]`, and let the user answer."""
        spoken = self._speak(*ACTIONS[action])
        self.utterances.append(spoken)
        self.known.update(spoken.informs)
        self.exchanges += 1
        success = self.user.reply(spoken) if 2 * self.exchanges <= MAX_TURN else False
        if success is None:
            self._hear(*self._misheard(self.user.told, self.user.act))
            return self._observation(), -1.0, False, False, self._info(False)
        reward = 2.0 * MAX_TURN if success else -float(MAX_TURN)
        return self._observation(), reward, True, False, self._info(success)

    def _speak(self, act: str, slot: str | None) -> Utterance:
        if act == "request":
            assert slot is not None
            return Utterance(act, {}, (slot,))
        if slot is None:
            return Utterance(act, {})
        told = {**self.known} if slot == "taskcomplete" else {}
        rows = self._rows(("ticket", "numberofpeople", "taskcomplete", "closing"))
        if slot in ("ticket", "taskcomplete"):
            told[slot] = AVAILABLE if rows else NO_MATCH
        else:
            told[slot] = self._commonest(slot, rows)
        return Utterance(act, told)

    def _commonest(self, slot: str, rows: int) -> str:
        counts = Counter(
            row[slot] for i, row in enumerate(self.data.rows) if rows >> i & 1 and slot in row
        )
        return max(counts, key=counts.__getitem__, default=NO_MATCH)

    def _rows(self, but: tuple[str, ...]) -> int:
        """Return the showings that fit what is known, without the slots in `but`."""
        rows = (1 << len(self.data.rows)) - 1
        for slot, value in self.known.items():
            if slot not in but and value != ANY:
                rows &= self._fitting.get((slot, value.lower()), 0)
        return rows

    def _hear(self, informs: dict[str, str], act: str) -> None:
        requests = tuple(slot for slot in SLOTS if slot in self.user.open)
        self.utterances.append(Utterance(act, dict(informs), requests))
        self.known.update(informs)

    def _misheard(self, told: dict[str, str], act: str) -> tuple[dict[str, str], str]:
        """Return what the agent hears of the user's frame."""
        config, words, random = self.config, self.data.words, self._random
        assert random is not None
        heard = dict(told)
        for slot in (slot for slot in SLOTS if slot in told):
            if chance(random) >= config.slot_error:
                continue
            kind = config.slot_error_kind
            if kind == "mixed":
                kind = ("value", "slot", "drop")[below(random, 3)]
            if kind == "value":
                if slot in words:
                    heard[slot] = words[slot][below(random, len(words[slot]))]
                continue
            heard.pop(slot, None)
            if kind == "slot":
                other = _choose(random, set(words))
                value = words[other][below(random, len(words[other]))]
                if config.errors == "corrected":
                    heard[other] = value
        if chance(random) < config.intent_error:
            act = ACTS[below(random, len(ACTS))]
        if config.errors == "paper":
            self.user.told, self.user.act = heard, act
        return heard, act

    def _observation(self) -> np.ndarray:
        observation = np.zeros(OBSERVATION_SPACE.shape, np.float32)
        part = {name: observation[where] for name, where in FIELDS.items()}
        # In a dialogue that is over the agent spoke last; what was heard came before.
        over = len(self.utterances) % 2 == 0
        heard = self.utterances[-2 if over else -1]
        spoken = self.utterances[-1 if over else -2] if len(self.utterances) > 1 else None
        for who, words in (("user", heard), ("agent", spoken)):
            if words is not None:
                part[f"{who} act"][ACTS.index(words.act)] = 1
                part[f"{who} informs"][_places(words.informs)] = 1
                part[f"{who} requests"][_places(words.requests)] = 1
        part["known"][_places(self.known)] = 1
        turn = 1 + 2 * self.exchanges
        part["turn"][0] = turn / 10
        part["turn one-hot"][turn] = 1
        counts = np.full(len(SLOTS) + 1, self._rows(("ticket",)).bit_count())
        for slot, value in self.known.items():
            rows = self._fitting.get((slot, value.lower()), 0) if slot != "ticket" else 0
            counts[SLOTS.index(slot)] = rows.bit_count()
        part["any fit"][:] = counts > 0
        part["how many fit"][:] = counts / 100
        return observation

    def _info(self, success: bool) -> dict[str, Any]:
        return {"success": success, "turns": 2 * self.exchanges}


def _places(slots: Any) -> list[int]:
    return [SLOTS.index(slot) for slot in slots]


_RULE_ACTIONS = np.array([ACTIONS.index(step) for step in RULE])


def rule_agent(observations: np.ndarray) -> np.ndarray:
    """Return the actions of the paper's rule agent, (n,), for observations (n, 272); only the turn counts."""
    exchanges = observations[:, FIELDS["turn one-hot"]].argmax(axis=1) // 2
    return _RULE_ACTIONS[np.minimum(exchanges, len(RULE) - 1)]
