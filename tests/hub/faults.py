"""What goes wrong at the loopback hub, to order."""

from dataclasses import dataclass, field

PIECES = 16  # of a body that drips


@dataclass(frozen=True)
class Fault:
    """What goes wrong on a route.

    Args:
        route: ``resolve``, ``cdn``, ``api`` and ``file``, which read, and those of `hub.loopback.WRITES`.
        times: how many requests it meets; None: all.
        status: answer so, with ``headers`` and ``body``, instead of what was asked for.
        cut: close the connection after so many bytes of the body.
        flip: turn one bit so far into the body, from 0 to 1.
        short: leave so many bytes off the end, and count only the others in the header.
        miscount: how far the sizes in the header are off.
        drip: seconds between the sixteenths of the body.
        stall: seconds before the answer.
        restart: instead of an answer hang up on everyone, stay away for so many seconds and come back.
    """

    route: str
    times: int | None = None
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: int | None = None
    flip: float | None = None
    short: int = 0
    miscount: int = 0
    drip: float = 0.0
    stall: float = 0.0
    restart: float | None = None

    def bend(self, status: int, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        """The answer with what is wrong about its content."""
        if self.status is not None:
            status, headers, body = self.status, self.headers, self.body
        if self.flip is not None and body:
            place = int(self.flip * len(body))
            body = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
        if self.short:
            body = body[: -self.short]
        if self.miscount and "X-Linked-Size" in headers:
            headers = {**headers, "X-Linked-Size": str(max(0, int(headers["X-Linked-Size"]) + self.miscount))}
        return status, headers, body

    @property
    def spoils_the_connection(self) -> bool:
        """Whether nothing more can be sent over it."""
        return self.cut is not None or bool(self.miscount)
