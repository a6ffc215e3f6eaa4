"""What do the perception tasks score, in which time, beside published figures?

Each row of the table is one `fathom fit` command, or several that differ in their seed, split or draw; of several
the mean is shown with Student's 95 % interval, of one the interval over test examples that the fit reports. The time
is the processor time of the command, imports and baselines included, which other work on the machine changes little;
the seconds by the clock are in the raw results. Figures are of the last evaluation. Results are added to
`benchmarks/results/perception_tasks.json` after every fit, so that a broken-off measurement can go on: a fit that is
there is not repeated unless it is named with `--again`.

    FATHOM_DATA=… python benchmarks/perception_tasks.py                    # everything, hours on two cores
    FATHOM_DATA=… python benchmarks/perception_tasks.py regression spam    # some rows, by the start of their names
    python benchmarks/perception_tasks.py --table                          # what has been measured, as markdown
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measuring import RESULTS, keep, machine, versions  # isort: skip - lies beside this file


FILE = RESULTS / "perception_tasks.json"
REFERENCE = Path(__file__).resolve().parents[1] / "runs" / "reference"

Result = dict[str, Any]
"""The JSON of `fathom fit … --json`."""


def score(result: Result) -> float:
    """The first figure of the evaluation."""
    return float(result["evaluation"]["mean"])


def error_percent(result: Result) -> float:
    """Wrongly classified test examples of a hundred."""
    return 100 * (1 - score(result))


def wrong_percent(result: Result) -> float:
    """The score as a percentage."""
    return 100 * score(result)


def percent(name: str) -> Callable[[Result], float]:
    """A further figure of the evaluation as a percentage."""
    return lambda result: 100 * measure(name)(result)


def measure(name: str) -> Callable[[Result], float]:
    """A further figure of the evaluation."""
    return lambda result: float(result["evaluation"]["measures"][name])


@dataclass(frozen=True)
class Row:
    """One row of the table."""

    name: str
    data: str
    figure: str
    of: Callable[[Result], float]
    published: str
    commands: tuple[str, ...]
    digits: int = 4
    before: str = ""
    """A command that makes the run which the others start from."""


def several(command: str, option: str, values: Sequence[int]) -> tuple[str, ...]:
    """The command with every value of an option."""
    return tuple(f"{command} {option} {value}" for value in values)


_MNIST = "digits --data mnist --batch-size 128"
_CIFAR = "objects --data cifar10-jpeg"
_LEE = "semi-supervised --data mnist --method pseudo-labels --epochs 1 --width 16"
_DIGITS_CNN = "runs/reference/digits-cnn"
_TRANSFER = "transfer --data fashion-mnist --pretrained"
_CONVNET = f"{_MNIST} --epochs 5 --shift 2 --name mnist"
_FSDD = "speech --data free-spoken-digits --epochs 18 --batch-size 16"
_COLOURS = f"{_CIFAR} --epochs 2 --name cifar"
_SUMS = "arithmetic --digits 3 --examples 50000 --hidden-size 96 --batch-size 128 --epochs 7"
_MULTI30K = "translation --data multi30k --hidden-size 256 --batch-size 64"
_CHAT = "chit-chat --wordings 1000 --epochs 8"

ROWS = (
    Row("regression", "diabetes", "test MSE", score, "2900.2 (closed form)", ("regression",), 1),
    Row(
        "regression R²", "diabetes", "R²", measure("R²"), "0.4526 (closed form)", ("regression",)
    ),
    Row(
        "spam", "SMS spam, 70/30", "accuracy", score, "0.9764 (Almeida et al. 2011)",
        several("spam", "--split-seed", range(5)),
    ),
    Row(
        "spam caught", "SMS spam, 70/30", "caught at 0.18 % blocked",
        measure("spam caught at 0.18 % of ham blocked"), "0.831 (Almeida et al. 2011)",
        several("spam", "--split-seed", range(5)), 3,
    ),
    Row(
        "topics", "R8", "accuracy", score, "0.937 (TF-IDF, logistic regression), 0.961 (fastText)",
        several("topics --data r8 --epochs 10", "--seed", range(3)),
    ),
    Row(
        "topics, SNIPS", "SNIPS intents", "accuracy", score, "0.970 (Goo et al. 2018, other test set)",
        ("topics",),
    ),
    Row(
        "sentiment", "sentence polarity, 10 folds", "accuracy", score, "0.761 (CNN-rand, Kim 2014)",
        several("sentiment", "--fold", range(10)),
    ),
    *(
        Row(
            f"sentiment, {flags}", "sentence polarity, fold 0", "accuracy", score, "–",
            (f"sentiment {flags}",),
        )
        for flags in (
            "--network rnn", "--network rnn --clip 0", "--network lstm", "--bidirectional", "--layers 2",
        )
    ),
    Row("speech", "300 spoken digits, shipped", "digit error rate", score, "–", ("speech",)),
    Row("speech, FSDD", "3,000 spoken digits", "digit error rate", score, "–", (_FSDD,)),
    *(
        Row(
            f"speech, FSDD without {speaker}", "3,000 spoken digits", f"digit error rate of {speaker}",
            measure(f"digit error rate of {speaker}"), "–",
            (f"{_FSDD} --held-out {speaker}".replace("--epochs 18", "--epochs 12"),),
        )
        for speaker in ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
    ),
    Row("digits", "8×8 digits", "error, %", error_percent, "–", several("digits", "--seed", range(4)), 2),
    Row(
        "digits, MLP", "MNIST", "error, %", error_percent, "1.60 (Simard et al. 2003)",
        (f"{_MNIST} --network mlp --hidden-size 1024 --dropout 0 --epochs 10",), 2,
    ),
    Row(
        "digits, MLP with dropout", "MNIST", "error, %", error_percent, "1.25 (Srivastava et al. 2014)",
        (f"{_MNIST} --network mlp --hidden-size 1024 --dropout 0.5 --epochs 10",), 2,
    ),
    Row(
        "digits, CNN", "MNIST", "error, %", error_percent, "0.78 (keras.io's convnet)", (_CONVNET,), 2
    ),
    Row(
        "objects", "frames of ten games", "accuracy", score, "–", ("objects",), 3,
    ),
    Row(
        "objects, fast", "CIFAR-10-JPEG", "accuracy", score,
        "0.94 (airbench, twice the width, original images)", (f"{_CIFAR} --epochs 14",), 3,
    ),
    Row(
        "objects, resnet-20", "CIFAR-10-JPEG", "accuracy", score,
        "0.9125 (He et al. 2015, 164 passes)",
        (f"{_CIFAR} --network resnet --depth 20 --epochs 1",), 3,
    ),
    Row(
        "objects, resnet-20 without shortcuts", "CIFAR-10-JPEG", "accuracy", score, "–",
        (f"{_CIFAR} --network resnet --depth 20 --epochs 1 --no-shortcuts",), 3,
    ),
    Row(
        "objects, resnet-8 of the same size", "CIFAR-10-JPEG", "accuracy", score, "–",
        (f"{_CIFAR} --network resnet --depth 8 --width 30 --epochs 1",), 3,
    ),
    Row(
        "semi-supervised", "8×8 digits, 100 labels", "error, %", error_percent, "–",
        several("semi-supervised", "--draw", range(5)), 2,
    ),
    *(
        Row(
            f"semi-supervised, {labels}", f"MNIST, {labels:,} labels", "error, %", error_percent,
            f"{published} (Lee 2013, pseudo-labels)",
            several(f"{_LEE} --labels {labels}", "--draw", range(10)), 2,
        )
        for labels, published in ((100, "16.15"), (600, "5.03"), (1000, "4.30"))
    ),
    Row("vae", "8×8 digits", "ELBO, nats", score, "–", ("vae",), 2),
    Row("gan", "8×8 digits", "Fréchet distance, small CNN", score, "–", ("gan",), 2),
    Row("pixels", "8×8 digits, binarised", "NLL, nats", score, "–", ("pixels",), 2),
    Row(
        "vae, MNIST", "MNIST", "Fréchet distance, digits-cnn", measure("Fréchet distance"), "–",
        (f"vae --data mnist --features {_DIGITS_CNN} --epochs 4",), 2,
    ),
    Row(
        "gan, MNIST", "MNIST", "Fréchet distance, digits-cnn", score, "–",
        (f"gan --data mnist --features {_DIGITS_CNN} --epochs 4",), 2,
    ),
    Row(
        "pixels, MNIST", "MNIST, binarised", "NLL, nats", score,
        "81.3 (PixelCNN), 80.8 (row LSTM, van den Oord et al. 2016)",
        ("pixels --data mnist --epochs 4",), 2,
    ),
    *(
        Row(
            f"reading, {hops} hop{'s' * (hops > 1)}", "bAbI, 1,000 questions a task, joint", "mean error, %",
            wrong_percent, published, (f"reading --epochs 40 --linear-start 5 --hops {hops}",), 1,
        )
        for hops, published in (
            (1, "25.8 (Sukhbaatar et al. 2015, without noise)"),
            (2, "15.6 (the same)"),
            (3, "12.4 (the same with noise, best of ten)"),
        )
    ),
    *(
        Row(
            f"copy, {network}, length {length}", "random bits, learnt up to length 20", "wrong bits, %",
            figure, "–", (f"copy --longest 20 --bits 8 --places 128 --epochs 10{options}",), 2,
        )
        for network, options in (("NTM", ""), ("LSTM", " --network lstm --hidden-size 256"))
        for length, figure in (
            (20, wrong_percent), (40, percent("at length 40")), (80, percent("at length 80")),
        )
    ),
    *(
        Row(
            f"captions, {network}", "scenes, new combinations", "exact match", score, "–",
            (f"captions --scenes 12000 --network {network}",), 3,
        )
        for network in ("attention", "plain")
    ),
    Row(
        "captions, attention on the object", "scenes, new combinations", "share",
        measure("attention on the object"), "–", ("captions --scenes 12000 --network attention",), 3,
    ),
    *(
        Row(
            f"video-captions, {name}", name, "exact match", score, "–",
            (f"video-captions --data episodes:{name}",), 3,
        )
        for name in ("maze", "pong")
    ),
    *(
        Row(
            f"transfer, {name}, {labels}", f"Fashion-MNIST from {name}, {labels:,} labels",
            "frozen features − from scratch", measure("frozen over scratch"), "–",
            several(f"{_TRANSFER} {run} --labels {labels}", "--draw", range(draws)), 3, before,
        )
        for name, run, before in (("MNIST", "mnist", _CONVNET), ("CIFAR", "cifar", _COLOURS))
        for labels, draws in ((10, 20), (100, 10), (1000, 3))
    ),
    Row("arithmetic", "sums of up to 2 digits", "exact", score, "–", ("arithmetic",)),
    Row(
        "arithmetic, 3 digits", "sums of up to 3 digits", "exact", score,
        "0.99 (keras.io, LSTM, 50,000 sums, 100 epochs)", (_SUMS,), 4,
    ),
    *(
        Row(
            f"translation, {network}", "Multi30k, German to English", "BLEU, test 2016", score, published,
            (f"{_MULTI30K} --network {network} {options}",), 1,
        )
        for network, options, published in (
            ("rnn", "--learning-rate 0.002 --epochs 10", "14 (bentrevett)"),
            ("attention", "--learning-rate 0.002 --epochs 10", "28.3 (bentrevett)"),
            ("transformer", "--learning-rate 0.001 --epochs 20", "–"),
        )
    ),
    Row("translation", "2,000 pairs of Tatoeba", "BLEU, characters", score, "–", ("translation",), 1),
    Row(
        "chit-chat", "chitchat, all wordings", "right scenario", score, "–",
        (_CHAT,), 4,
    ),
    Row(
        "chit-chat over TF-IDF", "chitchat, all wordings", "right scenario − TF-IDF's",
        measure("above TF-IDF"), "–", (_CHAT,), 4,
    ),
)  # fmt: skip


def fit(command: str, folder: Path, threads: int) -> Result:
    """The result of `fathom fit COMMAND`, run in a folder."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "fathom", "fit", *command.split(), "--threads", str(threads), "--json"],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": str(threads)},
        stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"`fathom fit {command}` failed; what it said is above")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    home = os.environ.get("FATHOM_DATA")
    text = done.stdout.replace(home, "$FATHOM_DATA") if home else done.stdout
    return {**json.loads(text), "processor_seconds": spent}


def measure_all(rows: Sequence[Row], threads: int, again: bool) -> None:
    """Fit what is missing, and keep each result."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(REFERENCE / "digits-cnn", Path(folder) / _DIGITS_CNN)
        for row in rows:
            for command in row.commands:
                content = load()
                if command in content["fits"] and not again:
                    continue
                name = row.before.split()[-1] if row.before else ""
                if name and not (Path(folder) / "runs" / name).exists():
                    fit(row.before, Path(folder), threads)
                print(f"fathom fit {command}", file=sys.stderr, flush=True)
                result = fit(command, Path(folder), threads)
                about = {"machine": machine(threads), **versions("torch", "scikit-learn")}
                content = load()
                content["fits"][command] = {**result, "measured_on": about}
                keep(FILE, content)


def load() -> dict[str, Any]:
    """What has been measured."""
    return json.loads(FILE.read_text()) if FILE.exists() else {"fits": {}}


def line(row: Row, fits: dict[str, Result]) -> str | None:
    """The row in markdown; None if it has not been measured whole."""
    if any(command not in fits for command in row.commands):
        return None
    results = [fits[command] for command in row.commands]
    values = [row.of(result) for result in results]
    seconds = statistics.mean(result["processor_seconds"] for result in results)
    mean, spread = statistics.mean(values), ""
    if len(values) > 1:
        from scipy import stats

        half = stats.t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
        spread = (
            f" ({mean - half:.{row.digits}f} to {mean + half:.{row.digits}f}, {len(values)} fits)"
        )
    elif (
        row.of in (score, error_percent, wrong_percent)
        and len(results[0]["evaluation"]["interval"] or ()) == 2
    ):
        ends = results[0]["evaluation"]["interval"]
        if row.of is error_percent:
            ends = [100 * (1 - end) for end in reversed(ends)]
        elif row.of is wrong_percent:
            ends = [100 * end for end in ends]
        spread = f" ({ends[0]:.{row.digits}f} to {ends[1]:.{row.digits}f})"
    command = row.commands[0]
    return (
        f"| {row.name} | {row.data} | {row.figure} | **{mean:.{row.digits}f}**{spread} | {seconds:.0f} s |"
        f" {row.published} | `fathom fit {command}` |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="starts of row names; all rows if there is none")
    parser.add_argument("--threads", type=int, default=2, help="of each fit")
    parser.add_argument("--again", action="store_true", help="repeat what has been measured")
    parser.add_argument("--table", action="store_true", help="only print the table")
    options = parser.parse_args()
    rows = [row for row in ROWS if not options.names or row.name.startswith(tuple(options.names))]
    if not options.table:
        measure_all(rows, options.threads, options.again)
    fits = load()["fits"]
    print("| task | data | figure | reached | processor time | published | command |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        if text := line(row, fits):
            print(text)


if __name__ == "__main__":
    main()
