"""Playing over a WebSocket: what is sent, what is refused, and what a visitor can use up."""

import json
import shutil
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect

from envs.go.board import Board
from fathom.cli import main
from fathom.errors import FathomError
from fathom.page.app import create_app
from fathom.page.playing import live, rooms
from fathom.page.playing.go import GoTable
from fathom.page.playing.live import Seats
from fathom.page.registry import id_of
from fathom.play.players import Move, Player, SearchBudget

RUNS = Path("runs")
HOST = "127.0.0.1:8000"


@pytest.fixture(scope="module")
def app() -> Starlette:
    return create_app(RUNS, read_only=True)


class Talk:
    """One person's side of a session."""

    def __init__(self, socket: WebSocketTestSession) -> None:
        self.socket = socket

    def hear(self) -> dict[str, Any]:
        """The next message; its pictures as PNG under `png`."""
        received = self.socket.receive()
        if received["type"] == "websocket.close":
            raise WebSocketDisconnect(received["code"])
        if received.get("text") is not None:
            return json.loads(received["text"])
        data = received["bytes"]
        end = 4 + struct.unpack(">I", data[:4])[0]
        message = json.loads(data[4:end])
        message["png"] = []
        for size in message["pictures"]:
            message["png"].append(data[end : end + size])
            end += size
        assert end == len(data)
        return message

    def tell(self, what: str, **more: Any) -> dict[str, Any]:
        """Send a message; gives the answer that is none of a player still thinking."""
        self.socket.send_text(json.dumps({"do": what, **more}))
        while (answer := self.hear()).get("thinking"):
            pass
        return answer

    def play(self, point: str) -> dict[str, Any]:
        """A move in Go, the answer to it, and the state after both."""
        self.tell("play", point=point)
        return self.hear()


@contextmanager
def _talk(app: Starlette, path: str, origin: str = f"http://{HOST}") -> Iterator[Talk]:
    client = TestClient(app)
    with client.websocket_connect(
        f"ws://{HOST}/play/{path}/live", headers={"Origin": origin}
    ) as socket:
        yield Talk(socket)


def _free(state: dict[str, Any]) -> str:
    """A point that is empty."""
    action = state["stones"].index(0)
    return f"{'ABCDEFGHJ'[action % 9]}{9 - action // 9}"


def test_two_players_do_not_disturb_each_other(app: Starlette) -> None:
    with _talk(app, "go/random") as one, _talk(app, "go/random") as other:
        assert one.hear()["moves"] == other.hear()["moves"] == 0
        assert one.play("E5")["moves"] == 2
        assert other.play("C3")["moves"] == 2
        state = one.play(_free(one.tell("score")))
        assert state["moves"] == 4
        assert state["stones"][40] == 1
        state = other.tell("undo")
        assert state["moves"] == 0
        assert not any(state["stones"])


def test_a_game_of_go_goes_out_as_sgf_and_comes_in_again(app: Starlette) -> None:
    with _talk(app, "go/random") as one:
        one.hear()
        state = one.play("E5")
        text = one.tell("sgf")["text"]
        assert text.startswith("(;")
        assert "B[ee]" in text
        one.tell("new", size=5, colour="black", seconds=0)
        assert one.tell("load", sgf=text)["stones"] == state["stones"]
        assert one.tell("load", sgf="hello")["type"] == "note"
        assert one.tell("resign")["result"] == "W+R"
        assert one.tell("play", point="A1")["type"] == "note"


def test_what_makes_no_sense_is_a_sentence_and_the_game_goes_on(app: Starlette) -> None:
    with _talk(app, "go/random") as one:
        one.hear()
        for text in ("", "[]", "{", '{"do": 3}', '{"do": "fly"}', '{"do": "play", "point": 7}'):
            one.socket.send_text(text)
            assert one.hear()["type"] == "note"
        assert "no point" in one.tell("play", point="Z99")["text"]
        assert "number" in one.tell("new", size="big")["text"]
        assert one.play("E5")["moves"] == 2
        one.socket.send_text(json.dumps({"do": "play", "point": "x" * live.MOST_TEXT}))
        with pytest.raises(WebSocketDisconnect):
            one.hear()


def test_a_game_by_keyboard_is_handed_over_and_back(app: Starlette) -> None:
    with _talk(app, f"game/{id_of('reference/maze-ppo')}") as one:
        game, frame = one.hear(), one.hear()
        assert game["actions"] == ["UP", "RIGHT", "DOWN", "LEFT"]
        assert game["waits"]
        assert frame["png"][0].startswith(b"\x89PNG")
        assert len(frame["scores"]) == 4
        key = dict((action, keys) for keys, action in game["keys"])[frame["choice"]]
        frame = one.tell("keys", held=key, pressed=True)
        assert frame["steps"] == 1
        assert frame["person"]
        frame = one.tell("hand over")
        while not frame["end"]:  # the agent goes on by itself
            assert not frame["person"]
            frame = one.hear()
        assert frame["end"] == "terminated"
        assert frame["return"] > 0
        assert one.tell("new")["steps"] == 0
        assert one.tell("saliency", kind="gradient")["type"] in ("note", "frame")


def test_a_run_that_is_removed_while_it_is_played_with_is_a_note(tmp_path: Path) -> None:
    shutil.copytree(RUNS / "reference/maze-ppo", tmp_path / "maze")
    with _talk(create_app(tmp_path), f"game/{id_of('maze')}") as one:
        one.hear()
        frame = one.hear()
        shutil.rmtree(tmp_path / "maze")
        assert "removed" in one.tell("act", action=frame["choice"])["text"]
        assert one.hear()["steps"] == 1
        assert one.tell("act", action=frame["choice"])["steps"] == 2
    with _talk(create_app(tmp_path), f"game/{id_of('maze')}") as one:
        assert "no such run" in one.hear()["text"]


def test_what_is_no_game_is_refused(app: Starlette, tmp_path: Path) -> None:
    with _talk(app, f"go/{id_of('reference/maze-ppo')}") as one:
        assert "another way to play" in one.hear()["text"]
    client = TestClient(app, base_url=f"http://{HOST}")
    assert client.get("/play/go/..%2F..%2Fetc").status_code == 404
    assert client.get("/play/dance/rave").status_code == 404
    file = tmp_path / "world.py"
    file.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    assert client.get(f"/play/environment?name={file}:World").status_code == 404
    assert not (tmp_path / "ran").exists()


def test_another_page_cannot_play(app: Starlette) -> None:
    with (
        pytest.raises(WebSocketDisconnect),
        _talk(app, "go/random", origin="http://evil.example") as one,
    ):
        one.hear()


def test_sessions_are_bounded_in_number_and_time() -> None:
    app = create_app(RUNS)
    app.state.seats = Seats(1, 1.5)
    with _talk(app, "go/random") as one:
        one.hear()
        with _talk(app, "go/random") as other:
            assert "1 sessions are open" in other.hear()["text"]
        assert "nobody used it" in one.hear()["text"]
        with pytest.raises(WebSocketDisconnect):
            one.hear()
    assert app.state.seats.free == 1


def test_the_page_answers_others_while_somebody_s_player_thinks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    thought, thinks = threading.Event(), threading.Event()

    class Slow(Player):
        name = "slow"

        def choose(
            self, board: Board, budget: SearchBudget, stop: Callable[[], bool] | None = None
        ) -> Move:
            thinks.set()
            assert thought.wait(30)
            return Move(board.rules.size**2)

    monkeypatch.setattr(rooms, "_opponent", lambda name: Slow())
    # As a context, the client runs everything in one event loop.
    with TestClient(create_app(RUNS), base_url=f"http://{HOST}") as client:
        headers = {"Origin": f"http://{HOST}"}
        path = f"ws://{HOST}/play/go/rave/live"
        with client.websocket_connect(path, headers=headers) as socket:
            one = Talk(socket)
            one.hear()
            socket.send_text('{"do": "play", "point": "E5"}')
            assert one.hear()["thinking"]
            assert thinks.wait(30)
            assert client.get("/").status_code == 200
            with client.websocket_connect(path, headers=headers) as other:
                assert Talk(other).hear()["moves"] == 0
            assert not thought.is_set()
            thought.set()
            assert one.hear()["moves"] == 2


def test_small_talk_is_made_with_a_fit_of_chit_chat(tmp_path: Path) -> None:
    rows = "".join(f"hello {n}\tGood day.\nbye {n}\tGood day.\n" for n in range(10))
    (tmp_path / "talk.tsv").write_text(rows)
    fit = f"fit chit-chat --data {tmp_path}/talk.tsv --name bot --hidden-size 16 --batch-size 4"
    words = f"{fit} --epochs 8 --learning-rate 0.01 --threads 1 --runs-dir {tmp_path}"
    assert main(words.split()) == 0
    with _talk(create_app(tmp_path), f"chat/{id_of('bot')}") as one:
        assert one.hear()["lines"] == []
        lines = one.tell("say", text="hello 3 <b>\x07")["lines"]
        assert [line["by"] for line in lines] == ["you", "agent"]
        assert lines[0]["text"] == "hello 3 <b>"
        assert lines[1]["text"] == "Good day."
        assert one.tell("new")["lines"] == []


class Passer(Player):
    """Passes always."""

    name = "passer"

    def choose(
        self, board: Board, budget: SearchBudget, stop: Callable[[], bool] | None = None
    ) -> Move:
        return Move(board.rules.size**2)


def _last(table: GoTable, what: str, **more: Any) -> dict[str, Any]:
    *_, state = table.handle({"do": what, **more})
    assert isinstance(state, dict)
    return state


def test_after_two_passes_the_dead_stones_are_agreed_on_or_the_game_goes_on() -> None:
    table = GoTable(Passer())
    record = "(;SZ[5]KM[0];B[cc];W[ab];B[bc];W[];B[cb];W[];B[ac];W[];B[bb];W[];B[ba])"
    state = _last(table, "load", sgf=record)
    assert state["colour"] == 2
    state = _last(table, "pass")
    assert state["turn"] == "dead stones"
    assert state["dead"] == [5]
    with pytest.raises(FathomError, match="not your move"):
        _last(table, "play", point="E5")
    state = _last(table, "agree", yes=False)
    assert state["turn"] == "person"
    assert state["stones"][5] == 2
    state = _last(table, "pass")
    assert state["turn"] == "over"
    assert state["result"].startswith("B+")
    assert _last(table, "undo")["result"] == ""


def test_a_player_without_win_rates_says_so() -> None:
    table = GoTable(Passer())
    assert "gives no win rates" in _last(table, "curve")["message"]
    assert len(_last(table, "ownership")["ownership"]) == 81


def test_white_is_begun_against_and_a_handicap_is_laid() -> None:
    table = GoTable(Passer())
    state = _last(table, "new", size=9, colour="white", handicap=0)
    assert (state["moves"], state["turn"]) == (1, "person")
    state = _last(table, "new", size=9, colour="black", handicap=3)
    assert (sum(state["stones"]), state["moves"]) == (3, 1)
    with pytest.raises(FathomError, match="handicap"):
        _last(table, "new", size=5, handicap=9)


def test_a_run_from_elsewhere_runs_no_code_of_its_own(tmp_path: Path) -> None:
    name = "<script>alert(1)"
    shutil.copytree(RUNS / "reference/maze-ppo", tmp_path / "runs" / name)
    world = tmp_path / "world.py"
    world.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    config = tmp_path / "runs" / name / "run.toml"
    text = config.read_text().replace('"Fathom/Maze-v0"', f'"{world}:World"')
    config.write_text(text)
    app, run_id = create_app(tmp_path / "runs"), id_of(name)
    with _talk(app, f"game/{run_id}") as one:
        assert "trust" in one.hear()["text"]
    with _talk(app, f"inside/{run_id}") as one:
        assert "trust" in one.hear()["text"]
    assert not (tmp_path / "ran").exists()
    client = TestClient(app, base_url=f"http://{HOST}")
    for path in ("/play", f"/play/game/{run_id}"):
        page = client.get(path).text
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert(1)" in page
