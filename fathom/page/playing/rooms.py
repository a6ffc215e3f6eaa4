"""The pages beneath `/play`, and what is made when somebody begins to play there."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from fathom.errors import FathomError, printable
from fathom.page.playing.live import Live, Seats, Warn, serve
from fathom.page.registry import NoSuchRunError, Registry
from fathom.page.site import site_of, view

if TYPE_CHECKING:
    from fathom.runs.run import Run

OPPONENTS = {
    "rave": "a search with RAVE, without a network",
    "playout": "the best move by playouts",
    "random": "any sensible move",
}
"""Players of Go that are no runs."""
_NOT_BY_KEYBOARD = (
    *("Fathom/Go", "Fathom/Dialogue", "Fathom/TCBot"),
    *("BipedalWalker", "CarRacing", "LunarLanderContinuous", "MountainCarContinuous", "Pendulum"),
)
"""Starts of environments that nobody plays by keyboard: talks, and those without numbered actions."""
MOST_LISTED = 300
"""Runs that the lobby lists, those that changed last; each is played from its own page, too."""
_CHECKPOINT = re.compile("latest|best|[0-9]{1,15}")


class Room(NamedTuple):
    """A way to play with a run."""

    name: str
    """In the path: go, chat, game or inside."""
    title: str


GO = Room("go", "Play Go against it")
CHAT = Room("chat", "Talk to it")
GAME = Room("game", "Play, or watch it play")
INSIDE = Room("inside", "What the network sees")
_TABLES = ("value-iteration", "q-learning")
_ROOMS = {room.name: room for room in (GO, CHAT, GAME, INSIDE)}


def rooms_of(is_fit: bool, learner: str, source: str) -> list[Room]:
    """The ways to play with a run; whether its network can be looked into turns out on the way.

    Args:
        learner, source: as of `RunConfig`.
    """
    if is_fit:
        return [CHAT] if learner == "chit-chat" else [INSIDE]
    if learner == "planner":  # which plans in copies of an environment of its own
        return []
    environment = source.rpartition(":")[2]
    if environment.startswith("Fathom/Go"):
        return [GO]
    if environment.startswith("Fathom/Dialogue"):
        return [CHAT]
    # Agents see no images in our own worlds but Go's, whose board is too small to be looked into.
    has_images = not environment.startswith("Fathom/") and learner not in _TABLES
    return [GAME, INSIDE] if has_images else [GAME]


# -- pages ------------------------------------------------------------------------------------------


def lobby(request: Request) -> Response:
    """What there is to play with."""
    found = site_of(request).registry.rows()
    playable = [row for row in found["rows"] if row["state"] != "broken"]
    playable.sort(key=lambda row: row["changed"], reverse=True)
    rows = []
    for row in playable[:MOST_LISTED]:
        is_fit = row["kind"] == "fit"
        learner = row["learner"] if is_fit else f"{row['learner']} in {row['source']}"
        rooms = rooms_of(is_fit, row["learner"], row["source"])
        rows.append((row["id"], row["path"], learner, rooms))
    return view(
        request,
        "play.html",
        title="Play",
        rows=rows,
        more=len(playable) > MOST_LISTED or not found["complete"],
        opponents=OPPONENTS,
        environments=_environments(),
    )


def room_page(request: Request) -> Response:
    """The page of one room; what is wrong with the run is a note that comes by the WebSocket."""
    room = _room(request)
    what = request.path_params["what"]
    if room is GO and what in OPPONENTS:
        name = what
    else:
        name = printable(site_of(request).registry.folder(what).name)
    live = f"/play/{room.name}/{what}/live"
    checkpoint = _checkpoint(request)
    if checkpoint != "latest":
        live += f"?{urlencode({'checkpoint': checkpoint})}"
    return view(request, f"{room.name}.html", title=f"{name}: {room.title}", name=name, live=live)


def environment_page(request: Request) -> Response:
    """The page of an environment that the person plays alone."""
    name = _environment(request)
    live = f"/play/environment/live?{urlencode({'name': name})}"
    return view(request, "game.html", title=f"{name}: play", name=name, live=live)


def _room(connection: HTTPConnection) -> Room:
    room = _ROOMS.get(connection.path_params["room"])
    if room is None:
        raise NoSuchRunError("there is no such way to play")
    return room


def _checkpoint(connection: HTTPConnection) -> str:
    given = connection.query_params.get("checkpoint", "latest")
    if not _CHECKPOINT.fullmatch(given):
        raise FathomError("a checkpoint is latest, best, or the step of one")
    return given


def _environment(connection: HTTPConnection) -> str:
    """The environment asked for. Only registered ones: a reference to a file would import it."""
    name = connection.query_params.get("name", "")
    if name not in _environments():
        raise NoSuchRunError("there is no such environment to be played by keyboard")
    return name


@functools.cache
def _environments() -> list[str]:
    from fathom.environments import list_environments

    return [name for name in list_environments() if not name.startswith(_NOT_BY_KEYBOARD)]


# -- sessions ---------------------------------------------------------------------------------------


async def play(socket: WebSocket) -> None:
    """A session in a room."""
    registry, what = site_of(socket).registry, socket.path_params["what"]

    def start(warn: Warn) -> Live:
        room, checkpoint = _room(socket), _checkpoint(socket)
        if room is GO and what in OPPONENTS:
            return _go(_opponent(what))
        run = registry.open(what)
        config = run.config
        if room not in rooms_of(config.is_fit, config.learner, config.source):
            raise FathomError(f"{printable(run.name)} is not for this: choose another way to play")
        try:
            return _MAKERS[room](run, warn, checkpoint)
        except FathomError as error:
            raise FathomError(_without_folders(registry, error)) from error

    def gone() -> str:
        try:
            if what not in OPPONENTS:
                registry.folder(what)
        except NoSuchRunError:
            return "This run was removed or moved; you play on with what was read before."
        return ""

    await serve(socket, _seats(socket), start, gone)


async def play_environment(socket: WebSocket) -> None:
    """A session in an environment, without an agent."""

    def start(warn: Warn) -> Live:
        from fathom.environments import resolve
        from fathom.page.playing.game import GameTable
        from fathom.play.keyboard_session import KeyboardSession

        environment = resolve(_environment(socket))
        return GameTable(KeyboardSession(environment, None, _seed()), "there is no agent here")

    await serve(socket, _seats(socket), start)


def _without_folders(registry: Registry, error: Exception) -> str:
    """A sentence that calls runs by their names: where they lie is not for every visitor."""
    return str(error).replace(f"{registry.runs_dir}{os.sep}", "")


def _seats(socket: WebSocket) -> Seats:
    state = socket.app.state
    if not hasattr(state, "seats"):
        state.seats = Seats()
    seats = state.seats
    assert isinstance(seats, Seats)
    return seats


def _seed() -> int:
    # ALE takes seeds below 2³¹, and later episodes have later ones.
    return int.from_bytes(os.urandom(4), "big") >> 2


def _opponent(name: str) -> Any:
    from fathom.play.players import player

    return player(name, threads=1)


def _go(player: Any) -> Live:
    from fathom.page.playing.go import GoTable

    return GoTable(player)


def _go_run(run: Run, warn: Warn, checkpoint: str) -> Live:
    from fathom.play.players import player_of_run

    return _go(player_of_run(run, warn=warn, checkpoint=checkpoint))


def _chat(run: Run, warn: Warn, checkpoint: str) -> Live:
    from fathom.page.playing.chat import DialogueChat, SmallTalk
    from fathom.play.dialogue_session import dialogue_with
    from fathom.runs.task_learner import trained_task

    if run.config.is_fit:
        return SmallTalk(trained_task(run, warn, "auto", checkpoint)[0])
    return DialogueChat(lambda: dialogue_with(run, None, _seed(), "auto", warn, checkpoint))


def _game(run: Run, warn: Warn, checkpoint: str) -> Live:
    from fathom.inspection.subject import AgentSubject, subject_of
    from fathom.page.playing.game import GameTable
    from fathom.play.keyboard_session import KeyboardSession
    from fathom.play.runs import trained_agent

    subject: AgentSubject | str
    try:
        found = subject_of(run, warn, "auto", checkpoint)
        assert isinstance(found, AgentSubject)  # what is played is no fit
        subject, agent, environment = found, found.agent, found.environment
    except FathomError as error:
        subject = printable(str(error).replace(str(run.folder), run.name))
        agent, environment = trained_agent(run, warn, "auto", checkpoint)
    return GameTable(KeyboardSession(environment, agent, _seed()), subject)


def _inside(run: Run, warn: Warn, checkpoint: str) -> Live:
    from fathom.inspection.subject import subject_of
    from fathom.page.playing.inside import Inside

    return Inside(subject_of(run, warn, "auto", checkpoint))


_MAKERS: dict[Room, Callable[[Run, Warn, str], Live]] = {
    GO: _go_run,
    CHAT: _chat,
    GAME: _game,
    INSIDE: _inside,
}
