"""What can go wrong with one HTTP request, for FaultyProxy.

A fault is a function of one faulty_http.Exchange: it may forward the request, change the reply,
send it, or hang up. A test may pass a function of its own. Each name here makes such a function.
"""

from dataclasses import dataclass, field


@dataclass
class Reply:
    """An answer to send. `content_length` is what the header claims, whatever the body is."""

    status: int
    headers: list = field(default_factory=list)
    body: bytes = b""
    content_length: int | None = None

    def set_header(self, name, value):
        """Replaces (or, for None, removes) a header."""
        self.headers = [(n, v) for n, v in self.headers if n.lower() != name.lower()]
        if value is not None:
            self.headers.append((name, value))


def passed():
    """No fault."""
    return lambda exchange: exchange.send(exchange.forward())


def delay(seconds):
    """Forwards after `seconds`."""

    def act(exchange):
        exchange.wait(timeout_s=seconds)
        exchange.send(exchange.forward())

    return act


def delay_answer(seconds):
    """Forwards at once and holds the answer back for `seconds`."""

    def act(exchange):
        reply = exchange.forward()
        exchange.wait(timeout_s=seconds)
        exchange.send(reply)

    return act


def stall(release):
    """Forwards only when the threading.Event `release` is set."""

    def act(exchange):
        exchange.wait(release)
        exchange.send(exchange.forward())

    return act


def stall_body(after_bytes, release):
    """Sends the answer's first bytes and the rest only when `release` is set."""

    def act(exchange):
        reply = exchange.forward()
        exchange.send(reply, stop_after=after_bytes)
        exchange.wait(release)
        exchange.send_bytes(reply.body[after_bytes:])

    return act


def cut_body(after_bytes):
    """Hangs up after so many bytes of the body, below the Content-Length announced."""

    def act(exchange):
        exchange.send(exchange.forward(), stop_after=after_bytes)
        exchange.drop()

    return act


def longer_body(extra_bytes, honest_length=True):
    """Appends junk to the body: counted in Content-Length, or stray bytes behind it."""

    def act(exchange):
        reply = exchange.forward()
        reply.content_length = len(reply.body) + (extra_bytes if honest_length else 0)
        reply.body += b"J" * extra_bytes
        exchange.send(reply)

    return act


def shorter_body(missing_bytes):
    """Leaves out the body's end, with a Content-Length that agrees: a truncated object."""

    def act(exchange):
        reply = exchange.forward()
        reply.body = reply.body[: max(0, len(reply.body) - missing_bytes)]
        exchange.send(reply)

    return act


def flip_byte(index):
    """Inverts one byte of the body (index modulo its length)."""

    def act(exchange):
        reply = exchange.forward()
        body = bytearray(reply.body)
        body[index % len(body)] ^= 0xFF
        reply.body = bytes(body)
        exchange.send(reply)

    return act


def status(code, error="", message="", headers=()):
    """Answers with an S3 error body, without asking the upstream."""

    def act(exchange):
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f"<Error><Code>{error}</Code><Message>{message}</Message>"
            f"<Resource>{exchange.request.path}</Resource><RequestId>0</RequestId></Error>"
        )
        fields = [("Content-Type", "application/xml"), *headers]
        exchange.send(Reply(code, fields, body.encode()))

    return act


def wrong_status(code):
    """The upstream's answer under another status, e.g. 200 where 206 was asked for."""

    def act(exchange):
        reply = exchange.forward()
        reply.status = code
        exchange.send(reply)

    return act


def header(name, value):
    """The upstream's answer with a header replaced, or removed when `value` is None."""

    def act(exchange):
        reply = exchange.forward()
        reply.set_header(name, value)
        exchange.send(reply)

    return act


def wrong_range(content_range):
    """The upstream's answer under another Content-Range, e.g. "bytes 0-9/100"."""
    return header("Content-Range", content_range)


def replace_body(body):
    """The upstream's answer with another body, of a Content-Length that agrees: a stale object."""

    def act(exchange):
        reply = exchange.forward()
        reply.body = body
        exchange.send(reply)

    return act


def drop_before(reset=False):
    """Hangs up without forwarding: the request never happened."""
    return lambda exchange: exchange.drop(reset)


def drop_after(reset=False):
    """Forwards and hangs up: the request happened, its answer is lost."""

    def act(exchange):
        exchange.forward()
        exchange.drop(reset)

    return act
