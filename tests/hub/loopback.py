"""A small hub on this machine that speaks the Hub's HTTP protocol, reading and publishing, with faults to order.

Large files are redirected to a CDN on another origin, as the real Hub does: ``localhost`` beside ``127.0.0.1``. Without
that the client would follow the redirect itself and lose the commit's header. It has no Xet
storage, as most private hubs have none.
"""

import base64
import hashlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import yaml
from hub.faults import PIECES, Fault

WRITES = ("create", "preupload", "lfs", "put", "commit", "tag", "xet")
"""Routes that publishing needs; a fault with a status on one of them leaves the hub as it was."""


class Loopback:
    """Use as a context manager; ``url`` is the endpoint."""

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, dict[str, bytes]]] = {}  # repo -> commit -> filename -> content
        self.files: dict[str, bytes] = {}  # plain downloads under /files/, for releases
        self.tags: dict[str, dict[str, str]] = {}  # repo -> tag, or branch beside main -> commit
        self.private: set[str] = set()
        self.token: str | None = None  # what writing, and reading what is private, needs
        self.uploaded: dict[str, bytes] = {}  # sha256 -> content, sent but in no commit yet
        self.log: list[tuple[str, str, int]] = []
        self.sent = 0  # bytes of bodies
        self.faults: list[Fault] = []
        self.lock = threading.Lock()

        hub = self

        class Handler(_Handler):
            server_hub = hub

        self._handler = Handler
        self._server = _Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._place = socket.socket()  # keeps the port while the server is away
        self._place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._place.bind(("127.0.0.1", self.port))
        self._changing = threading.Lock()  # held while the server is away
        self.url = f"http://127.0.0.1:{self.port}"
        self.cdn = f"http://localhost:{self.port}/cdn"
        self.cas = f"http://127.0.0.1:{self.port}/_cas"

    def add(self, repo: str, content: bytes, commit: str = "c" * 40, filename: str = "model.safetensors") -> str:
        """Publish a file; the last commit added is ``main``. Returns the sha256."""
        self.repos.setdefault(repo, {}).setdefault(commit, {})[filename] = content
        return hashlib.sha256(content).hexdigest()

    def head(self, repo: str) -> str:
        """The commit that ``main`` stands at."""
        return list(self.repos[repo])[-1]

    def fault(self, route: str, **what) -> None:
        self.faults.append(Fault(route, **what))

    def requests(self, method: str = "") -> int:
        return sum(method in ("", m) for m, _, _ in self.log)

    def restart(self, away: float) -> None:
        """Hang up on everyone, refuse connections for so many seconds, and come back at the same address."""
        with self._changing:
            self._stop()
            time.sleep(away)
            self._server = _Server(("127.0.0.1", self.port), self._handler)
            self._start()

    def lift(self) -> None:
        """Nothing goes wrong any more; returns when the server is there."""
        with self.lock:
            self.faults.clear()
        with self._changing:
            return

    def __enter__(self) -> "Loopback":
        self._start()
        return self

    def __exit__(self, *_) -> None:
        self.lift()
        self._stop()
        self._place.close()

    def _start(self) -> None:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def _stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._server.hang_up()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_port = True

    def __init__(self, *args) -> None:
        self._connections: set[socket.socket] = set()
        super().__init__(*args)

    def process_request(self, request, client_address) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        for connection in list(self._connections):
            with suppress(OSError):  # closed already
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request, client_address) -> None:
        """A client that hangs up is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_hub: Loopback

    def do_GET(self) -> None:
        parts = self._parts()
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
        body = self._body()
        parts = self._parts()
        if parts == ["api", "repos", "create"]:
            return self._write("create", self._create, body)
        if parts == ["api", "validate-yaml"]:
            return self._validate(body)
        if parts[2:] == ["info", "lfs", "objects", "batch"]:
            return self._write("lfs", self._batch, body)
        repo, action, revision = "/".join(parts[2:4]), parts[4] if len(parts) > 4 else "", parts[-1]
        if parts[:2] != ["api", "models"]:
            return self._send("other", 404, {}, b"")
        if action in ("preupload", "commit", "tag"):
            act = {"preupload": self._preupload, "commit": self._add_commit, "tag": self._tag}[action]
            return self._write(action, lambda body: act(repo, revision, body), body)
        if action == "paths-info":
            found = self._commit(repo, revision)
            if found is None:
                return None
            wanted = parse_qs(body.decode()).get("paths", [])
            rows = [_entry(name, content) for name, content in found[1].items() if name in wanted]
            return self._json(rows)
        return self._send("other", 404, {}, b"")

    def _parts(self) -> list[str]:
        """Of the path; a branch's name may hold a slash, which is quoted."""
        return [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]

    def do_PUT(self) -> None:
        body = self._body()
        sha256 = urlsplit(self.path).path.removeprefix("/_cas/")
        fault = self._fault("put")
        if fault is not None:
            return self._send_plain("put", fault.status or 500, fault.headers, fault.body)
        if hashlib.sha256(body).hexdigest() != sha256:
            return self._send("put", 400, {}, b"other bytes than announced")
        self.server_hub.uploaded[sha256] = body
        return self._send_plain("put", 200, {"ETag": f'"{sha256}"'}, b"")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _write(self, route: str, act: Callable[[bytes], None], body: bytes) -> None:
        """Do what changes the hub, unless a fault or the token forbids it."""
        fault = self._fault(route)
        if fault is not None:
            return self._send_plain(route, fault.status or 500, fault.headers, fault.body)
        sent = self.headers.get("Authorization")
        if self.server_hub.token is not None and sent != f"Bearer {self.server_hub.token}":
            message = "Invalid credentials in Authorization header" if sent else "Invalid username or password."
            return self._send_plain(route, 401, {"X-Error-Message": message}, b"")
        with self.server_hub.lock:
            return act(body)

    def _create(self, body: bytes) -> None:
        asked = json.loads(body)
        repo = f"{asked['organization']}/{asked['name']}"
        url = f"{self.server_hub.url}/{repo}"
        if repo in self.server_hub.repos:
            return self._answer("create", 409, {"error": "You already created this model repo", "url": url})
        self.server_hub.repos[repo] = {hashlib.sha1(repo.encode()).hexdigest(): {".gitattributes": b"*.safetensors\n"}}
        if asked.get("visibility") == "private" or asked.get("private"):
            self.server_hub.private.add(repo)
        return self._answer("create", 200, {"url": url, "name": repo})

    def _validate(self, body: bytes) -> None:
        text = json.loads(body)["content"]
        problem = None
        try:
            meta = yaml.safe_load(text.split("---")[1]) if text.startswith("---\n") else None
            problem = None if isinstance(meta, dict) else "metadata must be a YAML object between two lines of ---"
        except yaml.YAMLError as e:
            problem = str(e)
        errors = [{"message": problem}] if problem else []
        self._answer("api", 400 if problem else 200, {"errors": errors, "warnings": []})

    def _preupload(self, repo: str, revision: str, body: bytes) -> None:
        found = self._commit(repo, revision)
        if found is None:
            return None
        modes = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if _is_large(file["path"]) else "regular",
                "shouldIgnore": False,
                "oid": _oid(file["path"], found[1][file["path"]]) if file["path"] in found[1] else None,
            }
            for file in json.loads(body)["files"]
        ]
        return self._answer("preupload", 200, {"files": modes})

    def _batch(self, body: bytes) -> None:
        known = {hashlib.sha256(content).hexdigest() for content in self._contents()}
        objects = []
        for file in json.loads(body)["objects"]:
            upload = {"upload": {"href": f"{self.server_hub.cas}/{file['oid']}"}}
            objects.append(file if file["oid"] in known else {**file, "actions": upload})
        return self._answer("lfs", 200, {"transfer": "basic", "objects": objects})

    def _add_commit(self, repo: str, revision: str, body: bytes) -> None:
        found = self._commit(repo, revision)
        if found is None:
            return None
        parent, before = found
        files = dict(before)
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            match line["key"]:
                case "header":
                    if value.get("parentCommit", parent) != parent:
                        text = "A commit has happened since. Please refresh and try again."
                        return self._answer("commit", 412, {"error": text})
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    files[value["path"]] = self._content(value["oid"])
                case "deletedFile":
                    del files[value["path"]]
        commit = hashlib.sha1(parent.encode() + body).hexdigest()
        self.server_hub.repos[repo][commit] = files
        return self._answer(
            "commit", 200, {"commitUrl": f"{self.server_hub.url}/{repo}/commit/{commit}", "commitOid": commit}
        )

    def _tag(self, repo: str, revision: str, body: bytes) -> None:
        found = self._commit(repo, revision)
        if found is None:
            return None
        tags, tag = self.server_hub.tags.setdefault(repo, {}), json.loads(body)["tag"]
        if tag in tags:
            return self._answer("tag", 409, {"error": "Tag reference exists already"})
        tags[tag] = found[0]
        return self._answer("tag", 200, {})

    def _api(self, parts: list[str]) -> None:
        repo, revision = "/".join(parts[:2]), parts[3] if len(parts) > 3 else "main"
        if parts[2:3] == ["xet-write-token"]:
            return self._send("xet", 404, {}, b"")
        if parts[2:3] == ["refs"]:
            revision = "main"
        found = self._commit(repo, revision)
        if found is None:
            return None
        commit, files = found
        if parts[2:3] == ["tree"]:
            return self._json([_entry(name, content) for name, content in files.items()])
        if parts[2:3] == ["refs"]:
            tags = self.server_hub.tags.get(repo, {}).items()
            return self._json(
                {
                    "branches": [{"name": "main", "ref": "refs/heads/main", "targetCommit": commit}],
                    "converts": [],
                    "tags": [{"name": tag, "ref": f"refs/tags/{tag}", "targetCommit": at} for tag, at in tags],
                }
            )
        siblings = [_sibling(name, content) for name, content in files.items()]
        private = repo in self.server_hub.private
        return self._json({"id": repo, "sha": commit, "private": private, "siblings": siblings})

    def _resolve(self, repo: str, revision: str, filename: str) -> None:
        found = self._commit(repo, revision)
        if found is None:
            return None
        commit, files = found
        if filename not in files:
            return self._send("resolve", 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}, b"")
        content = files[filename]
        if not _is_large(filename):
            headers = {"X-Repo-Commit": commit, "ETag": f'"{_oid(filename, content)}"'}
            return self._send("resolve", 200, headers, content)
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
        secret = f"Bearer {self.server_hub.token}"
        if commits is None or (repo in self.server_hub.private and self.headers.get("Authorization") != secret):
            self._send("resolve", 401, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}, b"")
            return None
        commit = list(commits)[-1] if revision == "main" else self.server_hub.tags.get(repo, {}).get(revision, revision)
        if commit not in commits:
            self._send("resolve", 404, {"X-Error-Code": "RevisionNotFound"}, b"")
            return None
        return commit, commits[commit]

    def _content(self, sha256: str) -> bytes:
        return next(content for content in self._contents() if hashlib.sha256(content).hexdigest() == sha256)

    def _contents(self) -> Iterator[bytes]:
        yield from list(self.server_hub.uploaded.values())
        for commits in list(self.server_hub.repos.values()):
            for files in list(commits.values()):
                yield from list(files.values())

    def _json(self, value: object) -> None:
        self._send("api", 200, {"Content-Type": "application/json"}, json.dumps(value).encode())

    def _answer(self, route: str, status: int, value: object) -> None:
        self._send_plain(route, status, {"Content-Type": "application/json"}, json.dumps(value).encode())

    def _send_plain(self, route: str, status: int, headers: dict[str, str], body: bytes) -> None:
        """Send what is decided already; no fault is looked for."""
        self._send(route, status, headers, body, faulty=False)

    def _send(self, route: str, status: int, headers: dict[str, str], body: bytes, *, faulty: bool = True) -> None:
        fault = (self._fault(route) if faulty else None) or Fault(route)
        if fault.restart is not None:
            self.close_connection = True
            return self.server_hub.restart(fault.restart)
        status, headers, body = fault.bend(status, headers, body)
        asked = self.headers.get("Range")
        if asked and status == 200:
            first, last = asked.removeprefix("bytes=").split("-")
            part = body[int(first) : int(last) + 1 if last else None]
            headers = {**headers, "Content-Range": f"bytes {first}-{int(first) + len(part) - 1}/{len(body)}"}
            status, body = 206, part
        self.server_hub.log.append((self.command, self.path, status))
        self.server_hub.sent += 0 if self.command == "HEAD" else len(body)
        time.sleep(fault.stall)
        self.send_response(status)
        size = max(0, len(body) + fault.miscount)
        for name, value in {"Content-Length": str(size), "Accept-Ranges": "bytes", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self._write_body(body[: fault.cut], fault.drip)
        self.close_connection |= fault.spoils_the_connection
        return None

    def _write_body(self, body: bytes, drip: float) -> None:
        if not drip:
            self.wfile.write(body)
            return
        step = -(-len(body) // PIECES) or 1
        for start in range(0, len(body), step):
            self.wfile.write(body[start : start + step])
            time.sleep(drip)

    def _fault(self, route: str) -> Fault | None:
        with self.server_hub.lock:
            faults = self.server_hub.faults
            for place, fault in enumerate(faults):
                if fault.route == route and fault.times != 0:
                    if fault.times is not None:
                        faults[place] = replace(fault, times=fault.times - 1)
                    return fault
        return None

    def log_message(self, *_) -> None:
        """Silence."""


def _entry(name: str, content: bytes) -> dict[str, object]:
    entry = {"type": "file", "path": name, "size": len(content), "oid": _git_oid(content)}
    if _is_large(name):
        entry["lfs"] = {"oid": _oid(name, content), "size": len(content), "pointerSize": 135}
    return entry


def _sibling(name: str, content: bytes) -> dict[str, object]:
    """The same in the words of a repository's description, as the real Hub gives it when asked for blobs."""
    sibling = {"rfilename": name, "size": len(content), "blobId": _git_oid(content)}
    if _is_large(name):
        sibling["lfs"] = {"sha256": _oid(name, content), "size": len(content), "pointerSize": 135}
    return sibling


def _is_large(name: str) -> bool:
    """Whether a file is kept outside git, by its name, as .gitattributes says on the real Hub."""
    return not name.endswith((".json", ".md", ".txt", ".gitattributes"))


def _oid(name: str, content: bytes) -> str:
    """What the Hub knows a file by: sha256 where it is large, git's hash of a blob where it is not."""
    return hashlib.sha256(content).hexdigest() if _is_large(name) else _git_oid(content)


def _git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
