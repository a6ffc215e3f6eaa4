"""Fitting a perception task, in a run folder like any other: a segment is an epoch.

The folder has one file more than an agent's, `model.json`: all of the model but its weights, such as the
words that it knows. Data are a folder, or the phrases of a domain of dialogue.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agents.agent import AgentState
from envs.dialogue.domain import Domain, DomainError
from envs.dialogue.domains import load_domain
from envs.dialogue.frames import ANY_WORD, UNKNOWN_WORD, AgentFrame, Frame, agent_acts
from envs.dialogue.phrases import agent_sentence, some_frame, user_sentence
from envs.dialogue.words import tokens_of
from fathom.arguments import Device, check_ranges
from fathom.display import Display
from fathom.errors import FathomError
from fathom.files import replace_file, reporting_disk_errors
from fathom.runs.config import RunConfig, build_config
from fathom.runs.run import Progress, Run
from fathom.runs.training import (
    BUILDING,
    Curves,
    device_to_learn,
    device_to_use,
    log_evaluation,
    log_metrics,
    prepare,
    segment_seed,
    signals,
)
from perception.networks.seq2seq import Utterance, words_of
from perception.networks.slot_filling import OUTSIDE, IntentSlotModel, Sentence
from perception.tasks import load_task
from perception.tasks.sentences import DataError, load
from perception.tasks.task import Model, Task, copy_weights

MODEL = "model.json"
_LONGEST_MODEL = 50_000_000
_DATA_SEED = 1
"""Sentences of a domain are drawn with it: the same for every run, so that runs can be compared."""

_NONSENSE = 0.03
"""Share of nonsense among a domain's sentences, so that it is told from what means something."""
_SCRIPTS = (
    "abcdefghijklmnopqrstuvwxyz",
    "абвгдежзийклмнопрстуфхцчшщъыьэюя",
    "αβγδεζηθικλμνξοπρστυφχψω",
    "".join(chr(0x4E00 + number) for number in range(1000)),
    "?!.,;:()*#",
)

Examples = Sequence[Any]


@dataclass(frozen=True)
class FitFlags:
    """The run."""

    data: str = ""
    """What to learn from: a folder, a .jsonl file such as a transcript, or domain:NAME (default: the folder snips for slot-filling, domain:movie for utterances). A folder that is not found is looked up in $FATHOM_DATA."""
    sentences: int | None = None
    """Sentences made of a domain's phrases, a fifth of them for the test (default: 10,000)."""
    epochs: int | None = None
    """Times that every example is learnt from (default: the task's)."""
    seed: int = 0
    """All randomness of the run derives from it."""
    name: str | None = None
    """Name of the run's folder (default: made from data and task)."""
    runs_dir: Path = Path("runs")
    """Folder in which runs are written."""
    device: Device = "auto"
    """Where networks run; auto takes a GPU where there is one."""
    threads: int | None = None
    """Threads for computing (default: one a core); exact results hold for the same number."""
    json: bool = False
    """Print one JSON object on standard output, and progress on standard error."""


# -- data -----------------------------------------------------------------------------------------


def task_class(name: str) -> type[Task]:
    """A task's class by its command-line name; FathomError where there is none."""
    try:
        return load_task(name)
    except KeyError as error:
        raise FathomError(f"there is no task {name!r}; see `fathom list`") from error


def data_for(task: str, reference: str, sentences: int) -> tuple[Examples, Examples]:
    """Examples to learn from and examples to test with.

    Args:
        reference: a folder, or `domain:` and a domain's name or file.
        sentences: how many to make, where the data is a domain.

    Raises:
        FathomError: when there is no such data, or the task cannot use it.
    """
    kind, colon, domain = reference.partition(":")
    try:
        if colon and kind == "domain":
            make = domain_sentences if task == "slot-filling" else domain_utterances
            return make(load_domain(domain), sentences)
        if task != "slot-filling":
            raise FathomError(f"{task} learns from a domain, as in `--data domain:movie`")
        return load(_folder(reference))
    except (DataError, DomainError) as error:
        raise FathomError(str(error)) from error


def _folder(reference: str) -> Path:
    """The folder (or file of JSON lines) itself, or that of its name among the data of this machine."""
    given = Path(reference)
    home = os.environ.get("FATHOM_DATA")
    kept = Path(home) / given.name if home else None
    for folder in (given, kept):
        if folder is not None and folder.exists():
            return folder
    place = (
        f"neither at {given} nor at {kept}" if kept else f"at {given}, and FATHOM_DATA is not set"
    )
    raise FathomError(
        f"there are no data {place}: give their folder by --data, or use --data domain:movie"
    )


def _lasting(reference: str) -> str:
    """The reference in a form that holds in any folder."""
    kind, colon, name = reference.partition(":")
    if colon and kind == "domain":
        return f"domain:{Path(name).resolve()}" if Path(name).is_file() else reference
    return str(Path(reference).resolve()) if Path(reference).exists() else reference


def domain_sentences(domain: Domain, count: int) -> tuple[list[Sentence], list[Sentence]]:
    """Sentences of a domain's users, and others to test with.

    What informs of something is in the test or not by a hash of all that it says: the test's
    combinations of values are never learnt from. What says no value, such as "yes", is in both, and so
    is some nonsense, for which the intent is "unclear".
    """
    rng = np.random.default_rng(_DATA_SEED)
    train: list[Sentence] = []
    test: list[Sentence] = []
    while len(train) + len(test) < count:
        if rng.random() < _NONSENSE:
            (test if rng.random() < 0.2 else train).append(_nonsense(rng))
            continue
        frame = some_frame(domain, rng)
        message = user_sentence(domain, frame, rng)
        key = json.dumps([frame.act, frame.request, sorted(frame.informs.items())])
        held_out = _is_test(key) if frame.informs else rng.random() < 0.2
        (test if held_out else train).append(
            Sentence(list(message.tokens), list(message.tags), message.intent)
        )
    return train, test


def _nonsense(rng: np.random.Generator) -> Sentence:
    """What no user of a domain says: one to eight words of random letters of one script."""
    letters = list(_SCRIPTS[int(rng.integers(len(_SCRIPTS)))])
    words = ["".join(rng.choice(letters, rng.integers(1, 9))) for _ in range(rng.integers(1, 9))]
    tokens = tokens_of(" ".join(words))
    return Sentence(tokens, [OUTSIDE] * len(tokens), "unclear")


def domain_utterances(domain: Domain, count: int) -> tuple[list[Utterance], list[Utterance]]:
    """What users and agents of a domain say, and more to test with: acts that were never learnt from,
    among those with two slots or more, and other ones in both."""
    rng = np.random.default_rng(_DATA_SEED)
    acts = agent_acts(domain)
    names = [slot.name for slot in domain.slots]
    train: list[Utterance] = []
    test: list[Utterance] = []
    while len(train) + len(test) < count:
        if rng.random() < 0.5:
            frame = some_frame(domain, rng)
            words = _without_values(domain, frame, rng)
            # An act has its slots in the order of the sentence: to plan that is not the network's task.
            order = sorted(frame.informs, key=lambda name: words.index(f"{{{name}}}"))
            informs = {name: frame.informs[name] for name in order}
            act = user_words(dataclasses.replace(frame, informs=informs))
        else:
            chosen = acts[int(rng.integers(len(acts)))]
            slot = names[chosen.slot] if chosen.slot >= 0 else None
            unsaid = {"inform": UNKNOWN_WORD, "confirm": ANY_WORD}.get(chosen.kind)
            value = unsaid if unsaid and rng.random() < 0.1 else f"{{{slot}}}"
            row = {name: f"{{{name}}}" for name in names} if chosen.kind == "book" else None
            told = value if chosen.kind in ("inform", "confirm") else None
            agent_frame = AgentFrame(chosen.kind, slot, told, row)
            act, words = (
                agent_words(agent_frame),
                words_of(agent_sentence(domain, agent_frame, rng)),
            )
        held_out = _is_test(json.dumps(sorted(act))) if len(act) > 3 else rng.random() < 0.2
        (test if held_out else train).append(Utterance(act, words))
    return train, test


def user_words(frame: Frame) -> list[str]:
    """A user's act as words for `perception.networks.seq2seq`: what is said of which slots, in the order of the
    informs, but no values."""
    informs = [
        f"{'any' if value == ANY_WORD else 'inform'}={slot}"
        for slot, value in frame.informs.items()
    ]
    asked = [] if frame.request is None else [f"request={frame.request}"]
    return ["user", frame.act, *asked, *informs]


def agent_words(frame: AgentFrame) -> list[str]:
    """An agent's act as words for `perception.networks.seq2seq`, no values."""
    message = "" if frame.value not in (ANY_WORD, UNKNOWN_WORD) else f"{frame.value} "
    slots = [frame.slot] if frame.slot is not None else []
    return ["agent", f"{message}{frame.kind}", *slots]


def _without_values(domain: Domain, frame: Frame, rng: np.random.Generator) -> list[str]:
    message = user_sentence(domain, frame, rng)
    words = []
    for token, tag in zip(message.tokens, message.tags, strict=True):
        if tag.startswith("I-"):
            continue
        words.append(f"{{{tag[2:]}}}" if tag.startswith("B-") else token)
    return words


def _is_test(key: str) -> bool:
    return hashlib.sha256(key.encode()).digest()[0] % 5 == 0


def _protocol(reference: str, train: Examples, test: Examples) -> dict[str, Any]:
    digest = hashlib.sha256()
    for example in (*train, None, *test):
        digest.update(json.dumps(example).encode())
    return {
        "data": reference,
        "examples": len(train),
        "test": len(test),
        "sha256": digest.hexdigest()[:16],
    }


# -- runs -----------------------------------------------------------------------------------------


def settings_of(task: str, flags: FitFlags, config: Any) -> RunConfig:
    """All that a fit was asked for, resolved, its data read once.

    Raises:
        FathomError: when something of it makes no sense, or there is no such data.
    """
    kind = task_class(task)
    reference = _lasting(flags.data or kind.data)
    of_domain = reference.startswith("domain:")
    if flags.sentences is not None and not of_domain:
        raise FathomError("--sentences is for data made from a domain")
    made = 10_000 if flags.sentences is None else flags.sentences
    epochs = kind.epochs if flags.epochs is None else flags.epochs
    threads = torch.get_num_threads() if flags.threads is None else flags.threads
    check_ranges(sentences=made, epochs=epochs, seed=flags.seed, threads=threads)
    device = device_to_learn(flags.device)
    train, test = data_for(task, reference, made)
    return RunConfig(
        environment=reference,
        agent=task,
        steps=epochs * len(train),
        segment_steps=len(train),
        evaluation_episodes=len(test),
        seed=flags.seed,
        device=device,
        threads=threads,
        environment_arguments={"sentences": made} if of_domain else {},
        protocol=_protocol(reference, train, test),
        hyperparameters=dataclasses.asdict(config),
    )


def summary(settings: RunConfig) -> list[str]:
    """What a fit resolved to, in a few lines, to print before it starts."""
    parameters = ", ".join(f"{key} {value}" for key, value in settings.hyperparameters.items())
    epochs = settings.steps // settings.segment_steps
    return [
        f"{settings.agent} from {settings.environment}",
        f"  hyperparameters: {parameters}",
        f"  {settings.segment_steps:,} examples, {epochs} times; {settings.evaluation_episodes:,} to "
        "test with after each",
        f"  seed {settings.seed}, device {settings.device}, {settings.threads} threads",
    ]


def _examples(run: Run) -> tuple[Examples, Examples]:
    """A run's data; FathomError where they are no longer what they were."""
    settings = run.settings
    made = int(settings.environment_arguments.get("sentences", 0))
    train, test = data_for(settings.agent, settings.environment, made)
    result = _protocol(settings.environment, train, test)
    if result["sha256"] != settings.protocol.get("sha256"):
        raise FathomError(
            f"the data {settings.environment} are not those that {run.folder} was fitted to "
            f"({result['examples']:,} and {result['test']:,} examples now)"
        )
    return train, test


def read_model(run: Run) -> Any:
    """A run's model as `model.json` describes it, without its weights.

    Raises:
        FathomError: when the file is missing or broken.
    """
    path = run.folder / MODEL
    try:
        if path.stat().st_size > _LONGEST_MODEL:
            raise ValueError("it is too large")
        return task_class(run.settings.agent).described(json.loads(path.read_bytes()))
    except (OSError, ValueError, RecursionError) as error:
        raise FathomError(f"{path} cannot be used: {error}") from error


def fitted(run: Run, warn: Callable[[str], None], device: str = "cpu") -> tuple[Any, Progress]:
    """A fit's model with the weights of its latest checkpoint, ready for use, and how far it is.

    For slot-filling it is a `perception.networks.slot_filling.IntentSlotModel`, for utterances a
    `perception.networks.seq2seq.ResponseGenerator`. Reads only: it works while the run goes on.
    """
    model: Model = read_model(run)
    checkpoint = run.load_checkpoint(warn, weights_only=True)
    if checkpoint is None:
        raise FathomError(f"{run.folder} has no checkpoint yet")
    try:
        copy_weights(checkpoint.state.weights, dict(model.network.named_parameters()))
    except ValueError as error:
        raise FathomError(f"the checkpoint of {run.folder} does not fit: {error}") from error
    model.network.to(device).eval()
    return model, checkpoint.progress


def understanding(folder: Path) -> IntentSlotModel:
    """What a fit of slot-filling understands; FathomError where the folder holds no such fit."""
    run = Run.open(folder)
    if run.settings.agent != "slot-filling":
        raise FathomError(f"{folder} is no fit of slot-filling, but of {run.settings.agent}")
    result: IntentSlotModel = fitted(run, lambda _: None)[0]
    return result


def evaluate(run: Run, warn: Callable[[str], None], device: str) -> dict[str, Any]:
    """Test a fit's latest checkpoint on the sentences that it never learnt from."""
    torch.set_num_threads(max(1, min(run.settings.threads, os.cpu_count() or 1)))
    _, test = _examples(run)
    model, progress = fitted(run, warn, device_to_use(run, device))
    result = task_class(run.settings.agent).test(model, test)
    return {"steps": progress.steps, **result, "protocol": run.settings.protocol}


def extend(run: Run, steps: int) -> None:
    """Set a new end, in whole epochs."""
    with run.lock(), reporting_disk_errors(run.folder):
        settings = run.settings
        settings.steps = -(-steps // settings.segment_steps) * settings.segment_steps
        run.write_settings()


def fit(run: Run, *, to_stderr: bool = False) -> Progress:
    """Go on with a fit from where it is to its end.

    Raises:
        FathomError: With a sentence on what went wrong; the last checkpoint stays usable.
        Stopped: When SIGINT or SIGTERM arrived.
    """
    with signals() as check_signals, run.lock(), reporting_disk_errors(run.folder):
        return _Fitting(run, check_signals).whole(to_stderr)


class _Fitting:
    def __init__(self, run: Run, check_signals: Callable[[], None]) -> None:
        self.run, self.settings = run, run.settings
        self.check_signals = check_signals
        self.warnings: list[str] = []
        settings = self.settings
        prepare(settings.threads, settings.device)
        kind = task_class(settings.agent)
        config = build_config(kind.Config, settings.hyperparameters)
        train, self.test_examples = _examples(run)
        segment_seed(settings.seed, BUILDING)
        checkpoint = run.load_checkpoint(self.warnings.append)
        self.fresh = checkpoint is None
        self.progress = checkpoint.progress if checkpoint is not None else Progress()
        if self.fresh:
            model = kind.new_model(config, train)
            replace_file(run.folder / MODEL, json.dumps(model.description()).encode())
        else:
            model = read_model(run)
        model.network.to(settings.device)
        self.task = kind(config, model, train)
        if checkpoint is not None:
            state = checkpoint.state
            try:
                updates = int(state.numbers["updates"])
                self.task.learner.load(state.weights, state.tensors, updates)
            except (ValueError, KeyError) as error:
                raise FathomError(
                    f"the checkpoint of {run.folder} does not fit its task: {error}"
                ) from error
        self.model = model
        run.go_back(self.progress.segment)

    def whole(self, to_stderr: bool) -> Progress:
        run, progress, total = self.run, self.progress, self.settings.steps
        with Display(total, progress.steps, stderr=to_stderr) as self.display:
            for warning in self.warnings:
                self.display.message(f"warning: {warning}")
            if progress.steps < total:
                if self.fresh:
                    self._save()
                self.started_at = progress.seconds
                self.curves = Curves(run.folder, progress.steps + 1)
                try:
                    while progress.steps < total:
                        self._epoch()
                finally:
                    with contextlib.suppress(OSError):
                        self.curves.close()
        return progress

    def _epoch(self) -> None:
        run, progress, k = self.run, self.progress, self.progress.segment
        segment_seed(self.settings.seed, k)
        self.display.activity(f"learning, epoch {k + 1}")
        began = time.perf_counter()
        for metrics in self.task.epoch():
            self.check_signals()
            seconds = progress.seconds + time.perf_counter() - began
            done = progress.steps + int(metrics["steps"])
            log_metrics(run, self.curves, k, done, seconds, metrics)
            self.display.progress(done, seconds - self.started_at, metrics)
        progress.seconds += time.perf_counter() - began
        progress.steps, progress.segment = progress.steps + self.settings.segment_steps, k + 1
        self.display.activity("testing")
        result = self.task.test(self.model, self.test_examples)
        result["protocol"] = self.settings.protocol
        log_evaluation(run, self.curves, k, progress, result)
        self.display.evaluation(progress.steps, result)
        self.check_signals()
        self.display.activity("writing the checkpoint")
        self._save()

    def _save(self) -> None:
        learner = self.task.learner
        state = AgentState(learner.weights(), learner.tensors(), {"updates": learner.updates})
        self.run.save_checkpoint(self.progress.segment, state, self.progress)
