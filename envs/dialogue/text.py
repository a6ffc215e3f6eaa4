"""Words between user and agent: what the user says becomes a sentence, and the agent has what was
understood of it.

Whoever makes the environment gives it the understanding, anything with the two lists and the method of
`IntentSlotModel`; this package knows no network. The sentences are drawn from the domain's phrases, by the
dialogue's own random numbers. The channel's errors come on top: it transmits what was understood, and the
agent's confidence is that of the channel times that of the understanding.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from envs.dialogue.domain import Domain
from envs.dialogue.frames import frame_of, ints_of
from envs.dialogue.phrases import Sentence, tag_labels, understood, user_sentence
from envs.hooks import TrainedRun, WorldError
from envs.random import draw


class IntentSlotModel(Protocol):
    """What finds slots and intents in sentences."""

    tags: list[str]
    """Those that it knows."""
    intents: list[str]
    """Those that it knows."""

    def understand_all(
        self, sentences: Sequence[Sequence[str]]
    ) -> list[tuple[list[str], str, float]]:
        """Of each sentence's tokens: a tag a token, the intent, the probability that all is right."""


class Words:
    """Says what users mean in words, and understands the words, rightly or wrongly.

    Raises:
        WorldError: there is no model of understanding, or it was not fitted to this domain.
    """

    def __init__(self, domain: Domain, understanding: TrainedRun | str | None) -> None:
        if understanding is None:
            raise WorldError(
                "language text needs an understanding: fit one by `fathom fit slot-filling --data"
                " domain:NAME` and give its run as --env.understanding"
            )
        if isinstance(understanding, str):
            raise WorldError(f"there is no run {understanding!r} to use as understanding")
        model: IntentSlotModel = understanding.model()
        strange = sorted(set(model.tags) - set(tag_labels(domain)))
        if strange:
            raise WorldError(
                f"the understanding was not fitted to the domain {domain.name}: it finds"
                f" {strange[0][2:]}, which is no slot of that domain"
            )
        self.domain, self.model = domain, model

    def convey(
        self, said: np.ndarray, random: np.ndarray
    ) -> tuple[list[Sentence], np.ndarray, np.ndarray]:
        """Put frames into words and understand these.

        Args:
            said: (n, 2 + S) int16 frames.
            random: (n, 1) uint64 states; one number is drawn of each.

        Returns:
            The sentences; (n, 2 + S) int16, what was understood; (n,) float64, how surely, from 0 to 1.
        """
        sentences = [
            user_sentence(
                self.domain, frame_of(self.domain, ints), np.random.default_rng(int(draw(own)))
            )
            for ints, own in zip(said, random, strict=True)
        ]
        result = self.model.understand_all([sentence.tokens for sentence in sentences])
        heard, sure = np.empty_like(said), np.empty(len(said))
        for i, (sentence, (tags, intent, confidence)) in enumerate(
            zip(sentences, result, strict=True)
        ):
            heard[i] = ints_of(self.domain, understood(self.domain, sentence.tokens, tags, intent))
            sure[i] = confidence
        return sentences, heard, sure
