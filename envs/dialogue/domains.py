"""Finds a domain by its name or its file."""

from pathlib import Path

from envs.dialogue.domain import Domain, DomainError
from envs.dialogue.domain_file import read_domain
from envs.dialogue.movie_data import REAL, read_movie_data


def load_domain(name_or_path: str) -> Domain:
    """Return a domain that ships, the domain of a file, or the real movie data.

    Args:
        name_or_path: "movie", "restaurant", "taxi" or "hotel"; "path/to/file.yaml";
            "movie-real:FOLDER", or "movie-real" for `$FATHOM_DATA/movie-dialogue`
            (see `envs.dialogue.movie_data`).

    Raises:
        DomainError: one sentence, with the file and the line if the fault is in a file.
    """
    if name_or_path == REAL or name_or_path.startswith(REAL + ":"):
        return read_movie_data(name_or_path[len(REAL) + 1 :])
    folder = Path(__file__).parent / "domains"
    names = sorted(path.stem for path in folder.glob("*.yaml"))
    if name_or_path in names:
        return read_domain(folder / f"{name_or_path}.yaml")
    if not name_or_path.endswith((".yaml", ".yml")):
        raise DomainError(
            f"{name_or_path!r} is no domain: give one of {', '.join(names)}, {REAL}, or the path"
            " of a .yaml file"
        )
    return read_domain(Path(name_or_path))
