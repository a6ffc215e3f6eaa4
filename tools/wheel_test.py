"""Build the sdist and the wheel, install the wheel into empty environments, and use it there.

    python tools/wheel_test.py python3.11 python3.12 python3.13   # with all dependencies, from the index
    python tools/wheel_test.py --reuse                            # this Python, with its own dependencies

The wheel is built from the sdist, so both are tested. What they lack is noticed twice: the files of the packages are
compared with those of the source, and the wheel is used away from it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = "agents", "envs", "fathom", "perception"
LICENCES = "LICENSE", "NOTICE", "perception/data/NOTICE.md", "perception/data/tatoeba/NOTICE"
FILES = (
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "NOTICE",
    "MANIFEST.in",
    "CHANGELOG.md",
    "CITATION.cff",
)
_USE = """
import importlib.metadata, inspect, sys
from pathlib import Path
import fathom
place = Path(sys.prefix).resolve()
for name in ("fathom", "agents", "envs", "perception"):
    assert Path(__import__(name).__file__).resolve().is_relative_to(place), name
for name in fathom.__all__:
    assert callable(getattr(fathom, name)), name
from agents import AGENTS, PACKAGES, load_agent
from perception.tasks import TASKS
from fathom.runs.tasks import task_class
for name in AGENTS:
    if name not in PACKAGES:
        assert load_agent(name).Config, name
for name in TASKS:
    assert task_class(name).Config, name
from fathom.page.app import create_app
create_app(Path("."), read_only=True, token=None, hosts=("127.0.0.1",))
about = importlib.metadata.metadata("fathom-rl")
assert about["License-Expression"].startswith("MIT"), about["License-Expression"]
assert about["Author"] == "Fathom contributors", about["Author"]
run = fathom.load("p")
assert run.evaluate(episodes=2).count == 2
from fathom.cli import main
assert main(["export", "p"]) == 0
assert Path("exports/p/README.md").is_file()
"""


def main(words: Sequence[str] | None = None) -> int:
    """Test the wheel; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("pythons", nargs="*", help="interpreters, such as python3.12")
    parser.add_argument(
        "--reuse",
        action="store_true",
        help="this Python with the dependencies that it has: nothing is fetched",
    )
    given = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="fathom-wheel-") as temporary:
        work = Path(temporary)
        wheel = build(work, isolated=not given.reuse)
        missing = missing_files(wheel)
        if missing:
            print(f"the wheel lacks {', '.join(missing)}", file=sys.stderr)
            return 1
        print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB, every file of the packages")
        failed = False
        for number, python in enumerate(given.pythons or [sys.executable]):
            began = time.monotonic()
            try:
                use(wheel, python, work / f"environment-{number}", given.reuse)
            except (subprocess.CalledProcessError, OSError) as error:
                print(f"{python}: failed: {error}", file=sys.stderr)
                failed = True
                continue
            print(f"{python}: installed and used in {time.monotonic() - began:.0f} s", flush=True)
    return 1 if failed else 0


def build(work: Path, isolated: bool = True) -> Path:
    """Build the sdist, and of it the wheel, from a copy of the source; gives the wheel."""
    source = work / "source"
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, source / package, ignore=ignored)
    for name in FILES:
        shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "build", "--outdir", str(work / "dist"), str(source)]
    _run(command if isolated else [*command, "--no-isolation"], work)
    (wheel,) = (work / "dist").glob("*.whl")
    assert list((work / "dist").glob("*.tar.gz"))
    return wheel


def missing_files(wheel: Path) -> list[str]:
    """Files of the packages and licences that the wheel does not hold."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    wanted = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    (information,) = {name.partition("/")[0] for name in names if ".dist-info/" in name}
    wanted |= {f"{information}/licenses/{name}" for name in LICENCES}
    return sorted(wanted - names)


def use(wheel: Path, python: str, environment: Path, reuse: bool = False) -> None:
    """Install the wheel into an empty environment, and train, evaluate and export in an empty folder."""
    _run([python, "-m", "venv", *(["--without-pip"] if reuse else []), str(environment)], None)
    inside = environment / ("Scripts" if os.name == "nt" else "bin")
    pip = [str(inside / "python"), "-m", "pip"]
    if reuse:
        pip = [sys.executable, "-m", "pip", "--python", str(inside / "python")]
        (site,) = environment.glob("lib/python*/site-packages")
        own = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
        (site / "reused.pth").write_text("\n".join(own) + "\n")
    options = ["--no-deps", "--no-index"] if reuse else []
    _run([*pip, "install", "-q", *options, str(wheel)], None)
    folder = environment / "elsewhere"
    folder.mkdir()
    fathom = str(inside / "fathom")
    _run([fathom, "train", "ppo", "CartPole-v1", "--steps", "2000", "--name", "p"], folder)
    _run([str(inside / "python"), "-c", _USE], folder)


def _run(command: list[str], folder: Path | None) -> None:
    """Run a command without the variables that would show it the source; its output is shown where it fails."""
    hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode:
        sys.stderr.write(done.stdout.decode(errors="replace"))
        raise subprocess.CalledProcessError(done.returncode, command[:4])


if __name__ == "__main__":
    sys.exit(main())
