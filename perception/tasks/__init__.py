"""Perception tasks by name, for `fathom fit TASK`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perception.tasks.task import Task

TASKS: dict[str, str] = {
    "arithmetic": "perception.tasks.arithmetic:Arithmetic",
    "autoencoder": "perception.tasks.autoencoder:Autoencoder",
    "captions": "perception.tasks.captions:Captions",
    "chit-chat": "perception.tasks.chit_chat:ChitChat",
    "copy": "perception.tasks.copying:Copy",
    "descent": "perception.tasks.descent:Descent",
    "digits": "perception.tasks.digits:Digits",
    "gan": "perception.tasks.gan:GAN",
    "objects": "perception.tasks.objects:Objects",
    "pixels": "perception.tasks.pixels:Pixels",
    "reading": "perception.tasks.reading:Reading",
    "regression": "perception.tasks.regression:Regression",
    "semi-supervised": "perception.tasks.semi_supervised:SemiSupervised",
    "sentiment": "perception.tasks.sentiment:Sentiment",
    "slot-filling": "perception.tasks.slot_filling:SlotFilling",
    "spam": "perception.tasks.spam:Spam",
    "speech": "perception.tasks.speech:Speech",
    "topics": "perception.tasks.topics:Topics",
    "transfer": "perception.tasks.transfer:Transfer",
    "translation": "perception.tasks.translation:Translation",
    "utterances": "perception.tasks.response_generation:ResponseGeneration",
    "vae": "perception.tasks.vae:VAE",
    "video-captions": "perception.tasks.video_captions:VideoCaptions",
    "word-vectors": "perception.tasks.word_vectors:WordVectors",
}
"""Command-line name → "module:Class", imported when it is used."""


def load_task(name: str) -> type[Task]:
    """The class of a task.

    Raises:
        KeyError: there is no task of this name.
    """
    module, _, attribute = TASKS[name].partition(":")
    return getattr(import_module(module), attribute)
