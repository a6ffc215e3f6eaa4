"""The card of an exported run: a README with metadata that a hub reads, its score among them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from fathom.display import number, score
from fathom.errors import printable
from fathom.runs.config import RunConfig, provenance

CARD = "README.md"
_MOST_ROWS = 12
_TAGS = {
    "digits": "image-classification",
    "objects": "image-classification",
    "semi-supervised": "image-classification",
    "spam": "text-classification",
    "topics": "text-classification",
    "sentiment": "text-classification",
    "slot-filling": "token-classification",
    "speech": "automatic-speech-recognition",
    "translation": "translation",
    "captions": "image-to-text",
    "regression": "tabular-regression",
    "gan": "unconditional-image-generation",
    "vae": "unconditional-image-generation",
    "pixels": "unconditional-image-generation",
}
"""The hub's names for what some tasks do."""


def card(
    name: str,
    config: RunConfig,
    evaluations: Sequence[dict[str, Any]],
    pictures: Sequence[str],
    video: bool,
    policy: dict[str, Any] | None,
    licence: str,
) -> str:
    """The text of a card.

    Args:
        name: of the run.
        config: without folders of the machine.
        evaluations: lines of `evaluations.jsonl`; the last is that of the exported checkpoint.
        pictures: names of files in `pictures`.
        video: whether there is one.
        policy: the description of the policy network in ONNX, if that is exported.
        licence: of the weights; empty for none named.
    """
    last = evaluations[-1]
    score_name = last.get("score", "return")
    kind = _TAGS.get(config.task, "other") if config.is_fit else "reinforcement-learning"
    tags = [kind, "fathom", config.learner, config.source]
    data = ModelCardData(
        library_name="fathom",
        license=_plain(licence) or None,
        model_name=name,
        pipeline_tag=None if kind == "other" else kind,
        tags=list(dict.fromkeys(_plain(tag) for tag in tags if tag != "other")),
        eval_results=[_result(config, last, kind, score_name)],
    )
    unit = "examples" if config.is_fit else "steps"
    what = (
        f"A fit of the task `{_code(config.task)}` to `{_code(config.data)}`"
        if config.is_fit
        else f"An agent of `{_code(config.agent)}` in `{_code(config.environment)}`"
    )
    folder = f'fathom.load("runs/{name}")'
    text = ModelCard.from_template(
        data,
        template_str=(Path(__file__).parent / "card.md").read_text(encoding="utf-8"),
        name=name,
        what=what,
        version=_text(config.versions.get("fathom", "")),
        steps=f"{last['steps']:,} {unit}",
        unit=unit,
        score=_text(score({'score': 'return', **last})),
        protocol=_text(_protocol(last)),
        video=video,
        pictures=pictures,
        command=f"fathom predict runs/{name} INPUT" if config.is_fit else f"fathom record runs/{name}",
        python=f"task = {folder}.task()" if config.is_fit else f"agent = {folder}.agent()",
        needs=", ".join(f"`{_code(one)}`" for one in _needs(config)),
        policy=policy,
        metric=_text(score_name),
        rows=[_row(line) for line in evaluations[-_MOST_ROWS:]],
        hyperparameters=[(_code(key), _text(str(value))) for key, value in config.hyperparameters.items()],
        seed=config.seed,
        versions=_text(", ".join(f"{key} {value}" for key, value in config.versions.items()) or "unknown"),
        provenance=[_text(line) for line in provenance(config)],
    )  # fmt: skip
    return re.sub(r"\n{3,}", "\n\n", str(text)).rstrip() + "\n"


def _result(
    config: RunConfig, evaluation: dict[str, Any], kind: str, score_name: str
) -> EvalResult:
    """The score as the hub's model index has it, with its interval and protocol."""
    count = "episodes" if "episodes" in evaluation else "examples"
    how: dict[str, Any] = {
        "interval": [float(bound) for bound in evaluation["interval"]],
        "confidence": 0.95,
        count: evaluation[count],
    }
    for key in ("seed", "std"):
        if key in evaluation:
            how[key] = evaluation[key]
    return EvalResult(
        task_type=kind,
        task_name=_plain(config.task) if config.is_fit else "reinforcement learning",
        dataset_type=_plain(config.source),
        dataset_name=_plain(config.source),
        dataset_args=evaluation.get("protocol") or None,
        metric_type=_plain(score_name) if config.is_fit else "mean_reward",
        metric_name=_plain(score_name) if config.is_fit else "mean return",
        metric_value=float(evaluation["mean"]),
        metric_args=how,
    )


def _needs(config: RunConfig) -> list[str]:
    """What a run names that is code of somebody's own."""
    named = [config.environment, config.task, *(one.partition("{")[0] for one in config.wrappers)]
    return [one for one in named if ":" in one]


def _protocol(evaluation: dict[str, Any]) -> str:
    entries = [f"{key} {value}" for key, value in evaluation.get("protocol", {}).items()]
    if "seed" in evaluation:
        entries.append(f"evaluation seed {evaluation['seed']}")
    return ", ".join(entries) or "none"


def _row(line: dict[str, Any]) -> tuple[str, str, str]:
    low, high = line["interval"]
    return f"{line['steps']:,}", number(line["mean"]), f"{number(low)} to {number(high)}"


def _plain(text: str) -> str:
    return printable(text)


def _text(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", printable(text))


def _code(text: str) -> str:
    """Text between backticks, also in a table."""
    return printable(text).replace("`", "'").replace("|", "¦")
