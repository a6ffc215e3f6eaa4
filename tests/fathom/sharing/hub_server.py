"""A hub of a few dozen lines: what `huggingface_hub` asks of one to make, fill and read repositories of models."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

TOKEN = "hf_abcdefghijklmnopqrstuvwxyzABCDEF"


class Hub:
    """Repositories by name, each of files by name."""

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.claimed_sizes: dict[str, int] = {}
        """Sizes that are told in place of the true ones."""
        self.fetched: list[str] = []
        """Files that were asked for."""
        self.url = ""


def _commit(files: dict[str, bytes]) -> str:
    return hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def answer(
            self, content: object, status: int = 200, headers: dict[str, str] | None = None
        ) -> None:
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def refuse(self, status: int, code: str) -> None:
            self.answer({"error": code}, status, {"X-Error-Code": code})

        def known(self) -> bool:
            return self.headers.get("Authorization") == f"Bearer {TOKEN}"

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            if path == "/api/whoami-v2":
                if self.known():
                    self.answer({"name": "me", "type": "user"})
                else:
                    self.refuse(401, "Unauthorized")
            elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/.+)?", path):
                files = hub.repositories.get(match[1])
                if files is None:
                    self.refuse(404, "RepoNotFound")
                    return
                siblings = [
                    {"rfilename": name, "size": hub.claimed_sizes.get(name, len(data))}
                    for name, data in files.items()
                ]
                self.answer({"id": match[1], "sha": _commit(files), "siblings": siblings})
            elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/[^/]+(/.*)?", path):
                files = hub.repositories.get(match[1], {})
                self.answer(
                    [
                        {"type": "file", "path": name, "size": len(data), "oid": _commit({name: data})}
                        for name, data in files.items()
                    ]
                )  # fmt: skip
            elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
                files = hub.repositories.get(match[1], {})
                if match[2] not in files:
                    self.refuse(404, "EntryNotFound")
                    return
                if self.command == "GET":
                    hub.fetched.append(match[2])
                data = files[match[2]]
                tags = {"ETag": f'"{_commit({"": data})}"', "X-Repo-Commit": _commit(files)}
                self.answer(data, headers=tags)
            else:
                self.refuse(404, "NotFound")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = unquote(urlsplit(self.path).path)
            if not self.known():
                self.refuse(401, "Unauthorized")
            elif path == "/api/repos/create":
                asked = json.loads(body)
                name = f"{asked.get('organization') or 'me'}/{asked['name']}"
                hub.repositories.setdefault(name, {})
                self.answer({"url": f"{hub.url}/{name}", "name": name})
            elif path == "/api/validate-yaml":
                self.answer({"errors": [], "warnings": []})
            elif re.fullmatch(r"/api/models/[^/]+/[^/]+/preupload/main", path):
                asked = json.loads(body)["files"]
                plain = {"uploadMode": "regular", "shouldIgnore": False, "oid": None}
                self.answer({"files": [{"path": one["path"], **plain} for one in asked]})
            elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path):
                files = hub.repositories[match[1]]
                for line in map(json.loads, body.splitlines()):
                    if line["key"] == "file":
                        value = line["value"]
                        files[value["path"]] = base64.b64decode(value["content"])
                commit = _commit(files)
                self.answer(
                    {
                        "success": True,
                        "commitOid": commit,
                        "commitUrl": f"{hub.url}/{match[1]}/commit/{commit}",
                    }
                )
            else:
                self.refuse(404, "NotFound")

    return Handler


@contextmanager
def running_hub() -> Iterator[Hub]:
    """A hub that listens on this machine."""
    hub = Hub()
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub)) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
