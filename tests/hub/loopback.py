"""A small hub on this machine that speaks the Hub's HTTP protocol, reading side, with faults to order.

Large files are redirected to a CDN on another origin, as the real Hub does: ``localhost`` beside ``127.0.0.1``. Without
that the client would follow the redirect itself and lose the commit's header.
"""

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass
class Fault:
    """What goes wrong on a route (``resolve``, ``cdn``, ``api`` or ``file``), and how many times; None: always."""

    route: str
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: int | None = None  # close the connection after so many bytes of the body
    flip: bool = False  # turn one bit in the middle of the body
    times: int | None = None


class Loopback:
    """Use as a context manager; ``url`` is the endpoint."""

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, dict[str, bytes]]] = {}  # repo -> commit -> filename -> content
        self.files: dict[str, bytes] = {}  # plain downloads under /files/, for releases
        self.log: list[tuple[str, str, int]] = []
        self.faults: list[Fault] = []
        self.lock = threading.Lock()

        hub = self

        class Handler(_Handler):
            server_hub = hub

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.cdn = f"http://localhost:{self.port}/cdn"

    def add(self, repo: str, content: bytes, commit: str = "c" * 40, filename: str = "model.safetensors") -> str:
        """Publish a file; the last commit added is ``main``. Returns the sha256."""
        self.repos.setdefault(repo, {}).setdefault(commit, {})[filename] = content
        return hashlib.sha256(content).hexdigest()

    def fault(self, route: str, **what) -> None:
        self.faults.append(Fault(route, **what))

    def requests(self, method: str = "") -> int:
        return sum(method in ("", m) for m, _, _ in self.log)

    def __enter__(self) -> "Loopback":
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request, client_address) -> None:
        """A client that hangs up is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_hub: Loopback

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        parts = path.strip("/").split("/")
        if parts[0] == "cdn":
            content = self._content(parts[1])
            return self._send("cdn", 200, {}, content)
        if parts[0] == "files":
            content = self.server_hub.files.get(parts[1])
            return self._send("file", 404 if content is None else 200, {}, content or b"")
        if parts[:2] == ["api", "models"]:
            return self._api(parts[2:])
        if len(parts) >= 5 and parts[2] == "resolve":
            return self._resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        return self._send("other", 404, {}, b"")

    do_HEAD = do_GET

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = urlsplit(self.path).path.strip("/").split("/")
        if parts[:2] == ["api", "models"] and parts[4:5] == ["paths-info"]:
            found = self._commit("/".join(parts[2:4]), parts[5])
            if found is None:
                return None
            wanted = parse_qs(body.decode()).get("paths", [])
            rows = [_entry(name, content) for name, content in found[1].items() if name in wanted]
            return self._json(rows)
        return self._send("other", 404, {}, b"")

    def _api(self, parts: list[str]) -> None:
        repo, revision = "/".join(parts[:2]), parts[3] if len(parts) > 3 else "main"
        found = self._commit(repo, revision)
        if found is None:
            return None
        commit, files = found
        if parts[2:3] == ["tree"]:
            return self._json([_entry(name, content) for name, content in files.items()])
        return self._json({"id": repo, "sha": commit, "siblings": [{"rfilename": name} for name in files]})

    def _resolve(self, repo: str, revision: str, filename: str) -> None:
        found = self._commit(repo, revision)
        if found is None:
            return None
        commit, files = found
        if filename not in files:
            return self._send("resolve", 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}, b"")
        content = files[filename]
        sha256 = hashlib.sha256(content).hexdigest()
        headers = {
            "X-Repo-Commit": commit,
            "X-Linked-Etag": f'"{sha256}"',
            "X-Linked-Size": str(len(content)),
            "ETag": f'"{sha256}"',
            "Location": f"{self.server_hub.cdn}/{sha256}",
        }
        return self._send("resolve", 302, headers, b"")

    def _commit(self, repo: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """The commit and its files; answers the request itself where there are none."""
        commits = self.server_hub.repos.get(repo)
        if commits is None:
            self._send("resolve", 401, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}, b"")
            return None
        commit = list(commits)[-1] if revision == "main" else revision
        if commit not in commits:
            self._send("resolve", 404, {"X-Error-Code": "RevisionNotFound"}, b"")
            return None
        return commit, commits[commit]

    def _content(self, sha256: str) -> bytes:
        for commits in self.server_hub.repos.values():
            for files in commits.values():
                for content in files.values():
                    if hashlib.sha256(content).hexdigest() == sha256:
                        return content
        raise KeyError(sha256)

    def _json(self, value: object) -> None:
        self._send("api", 200, {"Content-Type": "application/json"}, json.dumps(value).encode())

    def _send(self, route: str, status: int, headers: dict[str, str], body: bytes) -> None:
        fault = self._fault(route)
        cut = None
        if fault is not None:
            cut = fault.cut
            if fault.status is not None:
                status, headers, body = fault.status, fault.headers, fault.body
            if fault.flip:
                middle = len(body) // 2
                body = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
        asked = self.headers.get("Range")
        if asked and status == 200:
            start = int(asked.removeprefix("bytes=").split("-")[0])
            headers = {**headers, "Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}
            status, body = 206, body[start:]
        self.server_hub.log.append((self.command, self.path, status))
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), "Accept-Ranges": "bytes", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body if cut is None else body[:cut])
        if cut is not None:
            self.close_connection = True

    def _fault(self, route: str) -> Fault | None:
        with self.server_hub.lock:
            for fault in self.server_hub.faults:
                if fault.route == route and fault.times != 0:
                    if fault.times is not None:
                        fault.times -= 1
                    return fault
        return None

    def log_message(self, *_) -> None:
        """Silence."""


def _entry(name: str, content: bytes) -> dict[str, object]:
    sha256 = hashlib.sha256(content).hexdigest()
    return {
        "type": "file",
        "path": name,
        "size": len(content),
        "oid": hashlib.sha1(content).hexdigest(),
        "lfs": {"oid": sha256, "size": len(content), "pointerSize": 135},
    }
