"""Makes the documentation site of what is in the repository, for `mkdocs build`.

The README is the first page. The links of docs/index.md, under their headings, are the navigation. Links to files
outside docs lead to pages that show these files. Pages of the Python API name the docstrings to show.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
LINK = re.compile(r"(?<=\]\()(?P<target>[^)\s#:]+)(?P<anchor>#[^)\s]*)?(?=\))")
"""The target of a link to a file; of a web address nothing, for it has a colon."""
LANGUAGES = {".py": "python", ".toml": "toml", ".sh": "sh"}


# -- navigation -------------------------------------------------------------------------------------


def on_config(config: Any) -> Any:
    """Set the navigation: the README, then the sections of docs/index.md, then the Python API."""
    config.nav = [{"Start": "README.md"}, *sections((DOCS / "index.md").read_text("utf-8"))]
    config.nav += [{"Python API": [{page.title: page.path} for page in api_pages()]}]
    config.nav += [{"All pages": "index.md"}, {"繁體中文": "README.zh-TW.md"}]
    return config


def sections(index: str) -> Iterator[dict[str, Any]]:
    """Each heading of an index with the pages that are linked under it, once each; a single page stands for itself."""
    seen = set()
    for part in index.split("\n## ")[1:]:
        heading, _, body = part.partition("\n")
        pages = []
        for title, path in re.findall(r"\[([^]]+)\]\(([^)#:]+\.md)\)", body):
            if path not in seen:
                seen.add(path)
                pages.append({title: page_of((DOCS / path).resolve())})
        if pages:
            yield {heading: pages if len(pages) > 1 else next(iter(pages[0].values()))}


# -- files ------------------------------------------------------------------------------------------


def on_files(files: Files, config: Any) -> Files:
    """Add the README, what is linked outside docs, and the pages of the Python API."""
    index = files.get_file_from_path("index.md")
    assert index is not None
    files.remove(index)  # the README is the first page
    files.append(File("index.md", index.src_dir, config.site_dir, False, dest_uri="pages.html"))
    waiting = [ROOT / "README.md", *DOCS.rglob("*.md")]
    seen = set(waiting)
    while waiting:
        path = waiting.pop()
        if not path.is_relative_to(DOCS):
            files.append(File.generated(config, page_of(path), content=content_of(path)))
        if path.suffix == ".md":
            new = {target for target in targets(path) if not target.is_relative_to(DOCS)} - seen
            seen |= new
            waiting += new
    for page in api_pages():
        files.append(File.generated(config, page.path, content=page.text()))
    return files


def targets(path: Path) -> list[Path]:
    """The files in the repository that a page links to."""
    found = [(path.parent / match["target"]).resolve() for match in LINK.finditer(read(path))]
    return [one for one in found if one.is_file() and one.is_relative_to(ROOT)]


def page_of(path: Path) -> str:
    """The name among the site's sources of a file in the repository."""
    if path.is_relative_to(DOCS):
        return path.relative_to(DOCS).as_posix()
    name = path.relative_to(ROOT).as_posix()
    return name if path.suffix == ".md" else f"source/{name}.md"


def content_of(path: Path) -> str:
    """A page for a file outside docs: Markdown as it is, other text as a listing."""
    if path.suffix == ".md":
        return read(path)
    name, language = path.relative_to(ROOT).as_posix(), LANGUAGES.get(path.suffix, "text")
    head = "---\nsearch: {exclude: true}\n---\n"
    return f"{head}# {name}\n\n`````{language}\n{read(path)}\n`````\n"


def read(path: Path) -> str:
    return path.read_text("utf-8")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Lead links to files of the repository to the site's pages of them."""
    uri = page.file.src_uri
    if uri.startswith(("api/", "source/")):
        return markdown
    here = ROOT if uri.startswith("README") or not (DOCS / uri).exists() else (DOCS / uri).parent

    def replace(match: re.Match[str]) -> str:
        path = (here / match["target"]).resolve()
        if not (path.is_file() and path.is_relative_to(ROOT)):
            return match[0]
        to = os.path.relpath(page_of(path), os.path.dirname(uri) or ".")
        return to + (match["anchor"] or "")

    return LINK.sub(replace, markdown)


# -- the Python API ---------------------------------------------------------------------------------


class APIPage:
    """A page that shows docstrings: sections of a heading and the names of objects."""

    def __init__(self, name: str, title: str, intro: str) -> None:
        self.path, self.title, self.intro = f"api/{name}.md", title, intro
        self.sections: list[str] = []

    def add(self, heading: str, *objects: str) -> None:
        self.sections.append(f"## {heading}\n")
        self.sections += [f"::: {name}\n    options: {{heading_level: 3}}\n" for name in objects]

    def add_learner(self, heading: str, reference: str) -> None:
        """Add what the module of an agent or a task, "module:Class", says of itself, and the hyperparameters."""
        self.add(heading)
        intro = "{members: false, show_root_heading: false, show_root_toc_entry: false}"
        self.sections.append(f"::: {reference.partition(':')[0]}\n    options: {intro}\n")
        self.sections.append(f"::: {config_of(reference)}\n    options: {{heading_level: 3}}\n")

    def text(self) -> str:
        return f"# {self.title}\n\n{self.intro}\n\n" + "\n".join(self.sections)


def api_pages() -> list[APIPage]:
    """The pages of the Python API, with every agent and task that is registered."""
    import fathom
    from agents import AGENTS
    from perception.tasks import TASKS

    top = APIPage("fathom", "fathom", "[Python](../python.md) shows these in use.")
    top.add("Functions", *(f"fathom.{name}" for name in fathom.__all__))
    top.add("Run", "fathom.runs.run.Run")
    top.add("Result", "fathom.evaluation.Result")
    agents = APIPage(
        "agents",
        "Agents",
        "The contract that every agent keeps, and the hyperparameters of each. A field `learning_rate` is the flag"
        " `--learning-rate` of `fathom train` and the keyword `learning_rate` of `fathom.train`.",
    )
    contract = ("Agent", "RunContext", "AgentState", "UnsuitableEnvironmentError")
    agents.add("Contract", *(f"agents.agent.{name}" for name in contract))
    for name, reference in AGENTS.items():
        agents.add_learner(name, reference)
    tasks = APIPage(
        "tasks",
        "Tasks",
        "The contract that every perception task keeps, its data, and the hyperparameters of each.",
    )
    tasks.add(
        "Contract", *(f"perception.tasks.task.{name}" for name in ("Task", "TaskData", "Metric"))
    )
    tasks.add(
        "Data",
        *(f"perception.data.source.{name}" for name in ("DataSource", "Location", "DataError")),
    )
    for name, reference in TASKS.items():
        tasks.add_learner(name, reference)
    worlds = APIPage(
        "worlds", "Environments", "What an environment may offer beyond Gymnasium's methods."
    )
    worlds.add("Hooks", "envs.hooks.Hooks", "envs.hooks.TrainedRun", "envs.hooks.WorldError")
    return [top, agents, tasks, worlds]


def config_of(reference: str) -> str:
    """The full name of the config of an agent or a task, "module:Class", read from its source."""
    module, _, name = reference.partition(":")
    source = read(ROOT / f"{module.replace('.', '/')}.py")
    _, _, body = source.partition(f"\nclass {name}(")
    match = re.search(r"^    Config\b.*?= (\w+)", body, re.M)
    if match is None:
        raise ValueError(f"{reference} has no Config")
    return f"{module}.{match[1]}"
