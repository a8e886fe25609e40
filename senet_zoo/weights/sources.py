"""Where the file of a checkpoint lies, as frozen values; reading checks every field."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from senet_zoo.errors import UsageError
from senet_zoo.formats.containers import MOST_BYTES
from senet_zoo.formats.dialects import DIALECTS
from senet_zoo.support.json_fields import Fields

REPO = r"[A-Za-z0-9][A-Za-z0-9_-]*/[A-Za-z0-9][A-Za-z0-9._-]*"
COMMIT = r"[0-9a-f]{40}"
REVISION = r"(?=.{1,250}$)[A-Za-z0-9_][A-Za-z0-9_.+-]*(/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*"
SHA256 = r"[0-9a-f]{64}"
PREFIX = r"[0-9a-f]{8,64}"
# Relative, no segment starts with a dot (so no ".."), and none is a device name of Windows.
PATH = (
    r"(?!(.*/)?([Cc][Oo][Nn]|[Pp][Rr][Nn]|[Aa][Uu][Xx]|[Nn][Uu][Ll]|[Cc][Oo][Mm][0-9]|[Ll][Pp][Tt][0-9])(\.|/|$))"
    r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*"
)
# Plain http only where nobody can listen in; no user names in the address.
URL = r"(https://[A-Za-z0-9.-]+|http://(localhost|127\.0\.0\.1|\[::1\]))(:[0-9]+)?/[^\s@]+"


@dataclass(frozen=True)
class PackageFile:
    """A safetensors file inside the installed package.

    Args:
        path: below the package's folder, with ``/``.
        sha256: of the file, 64 hex digits.
        size: in bytes.
        dialect: how its tensors are named; see `senet_zoo.formats.dialects`.
    """

    path: str
    sha256: str
    size: int
    dialect: str


@dataclass(frozen=True)
class HubFile:
    """A safetensors file in a repository of a hub that speaks Hugging Face's protocol.

    Args:
        repo: ``organisation/name``.
        revision: the commit, 40 hex digits; None: not known, the hub's newest is resolved once and remembered. Outside
            a manifest it may be a tag or a branch, which is resolved once likewise.
        filename: inside the repository.
        sha256: of the file, 64 hex digits; None: not known, the bytes are checked against what the hub reports.
        size: in bytes; None: not known.
        dialect: how its tensors are named; see `senet_zoo.formats.dialects`.
    """

    repo: str
    revision: str | None
    filename: str
    sha256: str | None
    size: int | None
    dialect: str


@dataclass(frozen=True)
class ReleaseFile:
    """A torch file of a public release: fetched once, hash checked, kept as safetensors.

    Args:
        url: https address of the file.
        sha256_prefix: the first 8 or more hex digits of its sha256.
        size: in bytes; None: not known.
        dialect: how its tensors are named; see `senet_zoo.formats.dialects`.
    """

    url: str
    sha256_prefix: str
    size: int | None
    dialect: str

    @property
    def filename(self) -> str:
        """The last part of the address."""
        return PurePosixPath(self.url).name


Source = PackageFile | HubFile | ReleaseFile


def split_revision(address: str) -> tuple[str, str | None]:
    """The two parts of ``organisation/name@revision``; the revision is None where the address has no ``@``."""
    repo, at, revision = address.partition("@")
    return repo, revision if at else None


def require_place(repo: str, revision: str | None, filename: str) -> None:
    """Refuse what names no file of a hub, before anything is asked.

    Args:
        repo: ``organisation/name``.
        revision: a commit, tag or branch; None for the newest commit.
        filename: inside the repository.

    Raises:
        UsageError: one of them is not of that form.
    """
    for name, value, pattern, rule in (
        ("repo", repo, REPO, "organisation/name"),
        ("revision", revision, REVISION, "a commit of 40 hex digits, a tag or a branch, or nothing for the newest"),
        ("filename", filename, PATH, "a relative path inside the repository"),
    ):
        if value is not None and re.fullmatch(pattern, value) is None:
            raise UsageError(f"{name} of a hub file must be {rule}, got {value!r}")


def read_source(fields: Fields) -> Source:
    """The source that ``fields`` describes, every field checked.

    Raises:
        ManifestError: a field is missing, unknown, or breaks its rule.
    """
    kind = fields.choice("kind", ("package", "hub", "release"))
    dialect = fields.choice("dialect", tuple(DIALECTS))
    path_rule = "a relative path with / that leaves no folder, such as weights/model.safetensors"
    hash_rule = "the 64 hex digits of a sha256"
    source: Source
    if kind == "package":
        source = PackageFile(
            path=fields.text("path", PATH, path_rule),
            sha256=fields.text("sha256", SHA256, hash_rule),
            size=fields.whole("size", 1, MOST_BYTES),
            dialect=dialect,
        )
    elif kind == "hub":
        source = HubFile(
            repo=fields.text("repo", REPO, "organisation/name"),
            revision=fields.text_or_null("revision", COMMIT, "the 40 hex digits of a commit, never a branch or tag"),
            filename=fields.text("filename", PATH, path_rule),
            sha256=fields.text_or_null("sha256", SHA256, hash_rule),
            size=fields.whole_or_null("size", 1, MOST_BYTES),
            dialect=dialect,
        )
    else:
        source = ReleaseFile(
            url=fields.text("url", URL, "an https address without user name (http only on this machine)"),
            sha256_prefix=fields.text("sha256_prefix", PREFIX, "the first 8 to 64 hex digits of a sha256"),
            size=fields.whole_or_null("size", 1, MOST_BYTES),
            dialect=dialect,
        )
        if re.fullmatch(PATH, source.filename) is None:
            raise fields.refuse("url", source.url, "an address that ends in a plain file name")
    fields.done()
    return source
