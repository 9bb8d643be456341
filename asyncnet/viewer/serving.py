"""The page, served to this machine's own browsers: on the loopback interface, read-only, and only to whoever has the token that its address holds.

A browser that is opened from here is given that address on its command line, which other users of the machine may see.
"""

from __future__ import annotations

import secrets
import socket
import threading
import webbrowser
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asyncnet.runs import stored
from asyncnet.scenario.mistakes import ScenarioError
from asyncnet.text import in_a_line
from asyncnet.viewer.source import Source

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

LOOPBACK = "127.0.0.1"
NAMES = (LOOPBACK, "localhost")  # by which a browser here may ask for it; any other name was made to point here by somebody else
LEAVING = 3.0  # seconds for answers under way
KINDS = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def application(source: Source, token: str, port: int) -> Any:
    """The page and what it asks for, as an ASGI application."""
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.responses import Response
    from starlette.routing import Route

    files = {
        file.name: (file.read_bytes(), KINDS[Path(file.name).suffix])
        for file in (resources.files("asyncnet.viewer") / "page").iterdir()
        if Path(file.name).suffix in KINDS
    }

    def file(request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        if name not in files:
            return Response("not found", 404)
        return Response(files[name][0], media_type=files[name][1])

    def state(request: Request) -> Response:
        asked = request.query_params
        try:
            rows, progress = (max(0, int(asked.get(name, "0")[:12])) for name in ("rows", "progress"))
        except ValueError:
            return Response("rows and progress are numbers", 400)
        return Response(source.answer(asked.get("generation", ""), rows, progress), media_type="application/json")

    routes = [Route(f"/{{token}}{path}", each, methods=["GET"]) for path, each in (("/", file), ("/state", state), ("/{name}", file))]
    return Starlette(routes=routes, middleware=[Middleware(_Guarded, token=token, port=port)])


class _Guarded:
    """Lets nobody in without the token, nor by another name than this machine's own."""

    def __init__(self, app: Any, token: str, port: int) -> None:
        self._app, self._token = app, token.encode()
        self._hosts = {f"{name}:{port}" for name in NAMES}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        from starlette.datastructures import Headers, MutableHeaders
        from starlette.responses import Response

        async def answered(message: Any) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        given = scope.get("path", "").encode().split(b"/")[1:2] or [b""]
        known = secrets.compare_digest(given[0], self._token)
        if scope["type"] == "http" and known and Headers(scope=scope).get("host") in self._hosts:
            await self._app(scope, receive, answered)
        elif scope["type"] == "http":
            await Response("the address that asyncnet watch has printed holds a token; this one does not", 403)(scope, receive, answered)


class Watching:
    """A page that is served, by a thread of this process, until `close`; use as a context manager."""

    def __init__(self, source: Source, port: int) -> None:
        """Raises ScenarioError if the port cannot be had."""
        import uvicorn

        self._socket = _listening(port)
        port, token = self._socket.getsockname()[1], secrets.token_urlsafe(24)
        self.url = f"http://{LOOPBACK}:{port}/{token}/"
        app = application(source, token, port)
        quiet = {"log_config": None, "log_level": "critical", "access_log": False, "server_header": False}
        self._server = uvicorn.Server(uvicorn.Config(app, lifespan="off", ws="none", http="h11", loop="asyncio", timeout_graceful_shutdown=1, **quiet))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, name="watch", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<watch {self.url}>"

    def open(self) -> bool:
        """Open the page in a browser; returns whether one was found."""
        return webbrowser.open(self.url)

    def close(self) -> None:
        """Serve no longer."""
        self._server.should_exit = True
        self._thread.join(LEAVING)
        self._socket.close()

    def __enter__(self) -> Watching:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def watch(run: str | Path = "runs/latest", *, port: int = 0, open: bool = False) -> Watching:
    """Serve a page that shows a run, while it goes on or after it, and return at once; `.url` is its address, `.close()` ends it.

    `run` is a run's directory, or a link to one, such as runs/latest, which may be there later: the page goes where it points. `port` is that of the loopback
    interface (0: any that is free), `open` opens a browser. Raises ScenarioError for what is no run, or where the extra `watch` is not installed.
    """
    needs()
    path = Path(run)
    if path.name != "latest" or path.exists():
        stored.find(path)
    watching = Watching(Source(path), port)
    if open:
        watching.open()
    return watching


def needs() -> None:
    """Raise ScenarioError where Starlette or uvicorn is not installed."""
    try:
        import starlette
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ScenarioError("watch", "", f"needs {error.name}: pip install 'asyncnet[watch]'") from None
    del starlette


def _listening(port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        raise ScenarioError("--port", "", f"from 0 to 65535, got {port}")
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((LOOPBACK, port))
        listening.listen(64)
    except OSError as error:
        listening.close()
        raise ScenarioError("--port", "", f"{port} cannot be had: {in_a_line(error)}") from None
    return listening
