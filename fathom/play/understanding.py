"""The model that reads a person's lines in a chat: fitted to the domain's phrases, and kept for later chats.

It lies in the user's cache folder, never in the run that is played; where that folder cannot be written, it
is fitted in a temporary one for this chat alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Any

from envs.dialogue.domains import load_domain
from fathom import __version__
from fathom.errors import FathomError
from fathom.play.runs import fit_slot_filling, open_slot_filling
from fathom.play.user_cache import cache_folder
from perception.tasks.slot_filling import SlotFillingConfig

SENTENCES = 4000
CONFIG = SlotFillingConfig(
    epochs=5,
    embedding=48,
    buckets=2048,
    hidden_size=64,
    dropout=0.2,
    learning_rate=5e-3,
    average=0.97,
)
"""Learns a domain's phrases in seconds."""


def understanding_for(domain: str) -> Any:
    """Return an `IntentSlotModel` for a domain, by its name or file: the kept one, or one fitted now."""
    name = _digest(domain)
    with contextlib.ExitStack() as stack:
        kept = cache_folder("understanding")
        if kept is not None and (kept / name).is_dir():
            with contextlib.suppress(FathomError):
                return open_slot_filling(kept / name)
            shutil.rmtree(kept / name, ignore_errors=True)
        # Fitted aside and moved into place: chats that begin at the same time do not meet.
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=kept)))
        fit_slot_filling(f"domain:{domain}", SENTENCES, CONFIG, work, name)
        if kept is not None:
            with contextlib.suppress(OSError):
                os.rename(work / name, kept / name)
        folder = work / name if (work / name).is_dir() else (kept or work) / name
        return open_slot_filling(folder)


def _digest(domain: str) -> str:
    """Return sixteen digits for all that a fit depends on: the domain, the settings, the program."""
    settings = (load_domain(domain).digest(), SENTENCES, dataclasses.astuple(CONFIG))
    return sha256(repr((*settings, __version__)).encode()).hexdigest()[:16]
