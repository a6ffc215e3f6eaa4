"""`fathom watch` listens where it is told, asks strangers for a token, and explains what it cannot do."""

import re
import socket
from pathlib import Path

import pytest
import uvicorn

from fathom.cli import main


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[uvicorn.Server]:
    """Servers that were about to run; none does."""
    servers: list[uvicorn.Server] = []

    def run(self: uvicorn.Server, sockets: list[socket.socket]) -> None:
        servers.append(self)
        for one in sockets:
            one.close()

    monkeypatch.setattr(uvicorn.Server, "run", run)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    return servers


def test_it_prints_its_address(served: list, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", "--port", "0"]) == 0
    assert re.match(r"runs is at http://127\.0\.0\.1:\d+/ ", capsys.readouterr().out)
    assert len(served) == 1


def test_off_loopback_the_address_has_a_token(
    served: list, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["watch", "runs", "--host", "0.0.0.0", "--port", "0"]) == 0
    address = rf"http://{re.escape(socket.gethostname())}:\d+/\?token=[\w-]{{32}} "
    assert re.search(address, capsys.readouterr().out)


def test_a_folder_that_is_missing_and_a_port_that_is_taken_are_sentences(
    served: list, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["watch", "elsewhere"]) == 2
    assert "there is no folder elsewhere" in capsys.readouterr().err
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["watch", "--port", str(taken.getsockname()[1])]) == 2
    assert "choose another --port" in capsys.readouterr().err
    assert served == []
