"""Runs on the Hugging Face Hub, or on another that speaks as it does (`HF_ENDPOINT`).

What is pulled is data from elsewhere: of a repository only the files that an export has are fetched, up to a number
of bytes each, and the run is opened under the rules of docs/safety.md.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import disable_progress_bars

from fathom.errors import FathomError, printable
from fathom.files import Folder, UnsafeFileError, reporting_disk_errors
from fathom.runs.config import CONFIG
from fathom.runs.folder import check_name
from fathom.runs.run import Run
from fathom.sharing.exporting import allowed_bytes, export_run

MOST_FILES, MOST_TOTAL = 200, 1 << 33
"""Files, and bytes in all, that are fetched of a repository."""


def hub_api() -> HfApi:
    """The client; its address is `HF_ENDPOINT`, its token that of `hf auth login` or `HF_TOKEN`."""
    return HfApi()


def push(
    run: Run,
    repository: str,
    *,
    private: bool = False,
    checkpoint: int | str = "latest",
    device: str = "auto",
    licence: str = "",
    with_onnx: bool = False,
    message: Callable[[str], None] = lambda text: None,
) -> str:
    """Export a run and upload it to a repository, which is made where there is none; gives its address.

    Args:
        repository: USER/NAME.
        private: make a new repository one that only its owner sees.
        checkpoint, device, licence, with_onnx, message: as for `export_run`.

    Raises:
        FathomError: there is no network, no token, no right to write, or the run cannot be exported.
    """
    api = hub_api()
    _check_repository(repository)
    with (
        tempfile.TemporaryDirectory(prefix="fathom-") as temporary,
        _reporting_errors(api.endpoint, repository),
    ):
        api.whoami()
        folder = export_run(
            run,
            Path(temporary) / run.name,
            checkpoint=checkpoint,
            device=device,
            licence=licence,
            with_onnx=with_onnx,
            message=message,
        )
        message(f"uploading to {repository}")
        disable_progress_bars()
        api.create_repo(repository, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repository, folder_path=folder, commit_message=f"{run.name}, by Fathom"
        )
    return str(commit.repo_url)


def pull(
    repository: str,
    runs_dir: Path,
    name: str | None = None,
    revision: str | None = None,
    message: Callable[[str], None] = lambda text: None,
) -> Run:
    """Fetch a run from a repository into the folder of runs; gives the run.

    Args:
        name: of the run's folder; the repository's own name if not given.
        revision: branch, tag or commit; the newest of the main branch if not given.

    Raises:
        FathomError: there is no network or no such repository, it holds no run, or one that cannot be used.
    """
    api = hub_api()
    _check_repository(repository)
    chosen = name if name is not None else repository.rpartition("/")[2]
    check_name(runs_dir, chosen)
    with _reporting_errors(api.endpoint, repository):
        info = api.model_info(repository, revision=revision, files_metadata=True)
        names = _chosen(repository, {one.rfilename: one.size for one in info.siblings or ()})
        message(f"fetching {len(names)} files of {repository}")
        disable_progress_bars()
        target = runs_dir / chosen
        with reporting_disk_errors(target, "make room and pull again"):
            runs_dir.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(prefix=".new-", dir=runs_dir))
            try:
                temporary.chmod(0o755)
                api.snapshot_download(
                    repository,
                    revision=info.sha,
                    local_dir=temporary,
                    allow_patterns=names,
                    max_workers=2,
                )
                shutil.rmtree(temporary / ".cache", ignore_errors=True)
                _check(temporary, repository)
                os.rename(temporary, target)
            except BaseException:
                shutil.rmtree(temporary, ignore_errors=True)
                raise
    return Run.open(target)


def _chosen(repository: str, sizes: dict[str, int | None]) -> list[str]:
    """The files of a repository that belong to a run.

    Raises:
        FathomError: it holds no run, or one of files that are too many or too large.
    """
    names = sorted(name for name in sizes if allowed_bytes(name) is not None)
    if CONFIG not in names:
        raise FathomError(f"{repository} is no run of Fathom: it holds no {CONFIG}")
    for name in names:
        size, most = sizes[name] or 0, allowed_bytes(name) or 0
        if size > most:
            raise FathomError(
                f"{name} of {repository} has {size:,} bytes, and a file of its kind at most {most:,}"
            )
    total = sum(sizes[name] or 0 for name in names)
    if len(names) > MOST_FILES or total > MOST_TOTAL:
        raise FathomError(
            f"{repository} has {len(names)} files of {total:,} bytes, and a run at most {MOST_FILES} of"
            f" {MOST_TOTAL:,}"
        )
    return names


def _check(folder: Path, repository: str) -> None:
    """Raise FathomError where what was fetched is not a run that can be opened, with weights."""
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() and not path.is_symlink():
            continue
        *below, last = name.split("/")
        try:
            with Folder(folder, *below).reading(last, allowed_bytes(name) or 0):
                pass
        except UnsafeFileError as error:
            raise FathomError(
                str(error).replace(str(folder / name), f"{name} of {repository}")
            ) from error
    try:
        Run.open(folder).trained_checkpoint("latest", warnings.warn)
    except FathomError as error:
        raise FathomError(str(error).replace(str(folder), repository)) from error


def _check_repository(repository: str) -> None:
    user, slash, name = repository.partition("/")
    if not (user and slash and name) or "/" in name:
        raise FathomError(
            f"a repository is named by its owner and its name, as in someone/pong-dqn, not {repository!r}"
        )


@contextlib.contextmanager
def _reporting_errors(place: str, repository: str) -> Iterator[None]:
    """Turn what can go wrong with a hub into one sentence."""
    token = "make one on its page of settings, then `hf auth login`, or set HF_TOKEN"
    try:
        yield
    except FathomError:
        raise
    except LocalTokenNotFoundError as error:
        raise FathomError(f"{place} wants to know who you are by a token: {token}") from error
    except OfflineModeIsEnabled as error:
        raise FathomError(f"{place} is not asked because HF_HUB_OFFLINE is set") from error
    except HFValidationError as error:
        raise FathomError(f"{repository!r} cannot name a repository: {_line(error)}") from error
    except GatedRepoError as error:
        raise FathomError(f"{repository} asks to be agreed to first, on its page") from error
    except RevisionNotFoundError as error:
        raise FathomError(f"{repository} has no such revision") from error
    except (RepositoryNotFoundError, EntryNotFoundError) as error:
        raise FathomError(
            f"there is no repository {repository} at {place}, or it is private and this token does not open it"
        ) from error
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        if status in (401, 403):
            raise FathomError(
                f"{place} does not let you do that in {repository}: use a token that may ({token})"
            ) from error
        raise FathomError(f"{place} answers with an error: {_line(error)}") from error
    except OSError as error:
        if error.errno is not None and error.filename is not None:
            raise  # of the disk
        raise FathomError(f"{place} cannot be reached: {_line(error)}") from error
    except Exception as error:
        # The client's HTTP library has errors of its own, which are no OSError, and it changes with its version.
        if type(error).__module__.partition(".")[0] not in (
            "httpx",
            "httpx2",
            "httpcore",
            "requests",
        ):
            raise
        raise FathomError(f"{place} cannot be reached: {_line(error)}") from error


def _line(error: Exception) -> str:
    return printable(" ".join(str(error).split())[:300]) or type(error).__name__
