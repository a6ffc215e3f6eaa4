"""Who may ask: the right host name, the same origin, and off this machine a token.

A page of another site that is open in the same browser can send requests to this one. It can neither give another
host name (`TrustedHostMiddleware` of Starlette, which comes first) nor start anything (`Origin` must be ours).
"""

from __future__ import annotations

import contextlib
import ipaddress
import secrets
import socket
from collections.abc import Sequence
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "fathom_token"
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_HARMLESS = ("GET", "HEAD")


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_names(host: str) -> list[str]:
    """What the header `Host` may name where the page listens on `host`."""
    names = {"localhost", "127.0.0.1", "::1", "[::1]", host}
    if not is_loopback(host):
        own = socket.gethostname()
        names |= {own.lower(), socket.getfqdn().lower()}
        with contextlib.suppress(OSError):
            names |= {str(entry[4][0]) for entry in socket.getaddrinfo(own, None)}
    return sorted(names)


class SameOrigin:
    """Middleware: refuses requests from pages of others, asks for the token, and sets the headers of `HEADERS`.

    Args:
        token: what a browser has to show, by `/?token=…` once and by a cookie then; None where none is needed.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app, self._token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if refusal is None:
            await self._app(scope, receive, _with_headers(send))
        elif scope["type"] == "http":
            await refusal(scope, receive, _with_headers(send))
        else:
            await send({"type": "websocket.close", "code": 1008, "reason": ""})

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        origin = headers.get("origin")
        needed = scope["type"] == "websocket" or scope["method"] not in _HARMLESS
        if (needed or origin is not None) and not _is_own(origin, headers.get("host", "")):
            return PlainTextResponse("This request comes from another page.", 403)
        if self._token is None:
            return None
        if scope["type"] == "http" and scope["path"] == "/":
            given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
            if given and self._is_token(given[0]):
                answer = RedirectResponse("/", 303)
                answer.set_cookie(COOKIE, self._token, httponly=True, samesite="lax")
                return answer
        if self._is_token(_cookie(headers.getlist("cookie"))):
            return None
        return PlainTextResponse(
            "Open the address with its token, which `fathom watch` printed: /?token=…", 401
        )

    def _is_token(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), (self._token or "").encode())


def _is_own(origin: str | None, host: str) -> bool:
    """Whether the header `Origin` names the host that was asked."""
    try:
        parts = urlsplit(origin or "")
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(host) and parts.netloc == host.lower()


def _cookie(lines: Sequence[str]) -> str:
    """The token in the cookies; empty without one."""
    for line in lines:
        try:
            cookie = SimpleCookie(line).get(COOKIE)
        except CookieError:
            continue
        if cookie is not None:
            return cookie.value
    return ""


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            headers.setdefault("Cache-Control", "no-cache")
        await send(message)

    return sending
