"""Users who speak in words: their frames become sentences, and a model understands these.

The model is an `IntentSlotModel` of a trained run; this package knows no network. Sentences are drawn from the
domain's phrases by the dialogue's own generator. The channel's errors come on top: it transmits what was
understood, and the agent's confidence is the channel's times the model's.
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
    """A model that predicts slots and intents of sentences."""

    tags: list[str]
    """The labels that it knows."""
    intents: list[str]
    """The labels that it knows."""

    def understand_all(
        self, sentences: Sequence[Sequence[str]]
    ) -> list[tuple[list[str], str, float]]:
        """Return for each sentence's tokens: a tag per token, the intent, the probability that all are right."""


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
        """Turn frames into sentences, and understand these.

        Args:
            said: (n, 2 + S) int16 frames.
            random: (n, 1) uint64 generators; one number is drawn from each.

        Returns:
            The sentences; the frames understood, (n, 2 + S) int16; their confidences, (n,) float64.
        """
        sentences = [
            user_sentence(
                self.domain, frame_of(self.domain, ints), np.random.default_rng(int(draw(own)))
            )
            for ints, own in zip(said, random, strict=True)
        ]
        understood_as = self.model.understand_all([sentence.tokens for sentence in sentences])
        heard, sure = np.empty_like(said), np.empty(len(said))
        for i, (sentence, (tags, intent, confidence)) in enumerate(
            zip(sentences, understood_as, strict=True)
        ):
            heard[i] = ints_of(self.domain, understood(self.domain, sentence.tokens, tags, intent))
            sure[i] = confidence
        return sentences, heard, sure
