"""What can go wrong with a request, chosen by chance, for FaultProxy.

    SeededFaults(seed, share, PASSING)                every request may meet one; a retry helps
    SeededFaults(seed, share, {"forbidden": 1}, lasting=True)    some objects, and those always

A kind of fault is an async function of an Exchange and a random number generator. It returns False
when it found nothing that it could damage and passed the request on.

What is left out, since no client of S3 could notice it: a damaged answer that no checksum covers (a
part of an object, a listing), a 404 with S3's NoSuchKey for an object that is there.
"""

import asyncio
import collections
import email.utils
import random
import time
from dataclasses import dataclass

from servers.fault_proxy import UpstreamGone
from servers.faults import Reply

CHECKSUM_HEADER = "x-amz-meta-nbdstack-xxh3"


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    applies  to which requests it can happen
    ends     the client gets its answer all the same: there is no retry
    slow     takes a retry's pause, or a client's patience
    """

    act: object
    applies: object
    ends: bool
    slow: bool


KINDS = {}


def _kind(applies=lambda request: True, ends=False, slow=False):
    def register(act):
        KINDS[act.__name__] = Kind(act, applies, ends, slow)
        return act

    return register


def _has_body(request):
    return request.body_bytes > 0


def _is_one_change(request):
    return request.method in ("PUT", "DELETE") and not request.is_conditional


def _is_unconditional(request):
    return not request.is_conditional


def _flipped(body, rng):
    """With one bit changed somewhere."""
    changed = bytearray(body)
    changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _is_verified_object(reply):
    """Whether a whole object came, with a checksum for the client to check."""
    return reply.status == 200 and reply.body and _header(reply, CHECKSUM_HEADER)


def _header(reply, name):
    return next((value for each, value in reply.headers if each.lower() == name), None)


async def _answer(exchange, status, code="", headers=()):
    """S3's error body, or some other server's page where there is no code."""
    if code:
        fields = [("Content-Type", "application/xml"), *headers]
        body = (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code>'
            f"<Message>as the test wants</Message><RequestId>0</RequestId></Error>"
        )
    else:
        fields = [("Content-Type", "text/html"), *headers]
        body = f"<html><body><h1>{status}</h1></body></html>"
    await exchange.send(Reply(status, fields, body.encode()))


# Damage on the way.


@_kind(ends=True)
async def delay(exchange, rng):
    """Before or after the upstream is asked."""
    before, after = rng.choice([(1, 0), (0, 1)])
    seconds = min(rng.expovariate(1 / 0.02), 1)
    await asyncio.sleep(before * seconds)
    reply = await exchange.forward()
    await asyncio.sleep(after * seconds)
    await exchange.send(reply)


@_kind(_has_body)
async def cut_request(exchange, rng):
    """Hangs up in the middle of the request's body, also on the upstream in half of the cases."""
    count = rng.randrange(exchange.request.body_bytes)
    if rng.random() < 0.5:
        await exchange.forward_in_part(count)
    else:
        await exchange.part_of_body(count)
    exchange.drop(reset=rng.random() < 0.5)


@_kind()
async def cut_headers(exchange, rng):
    """Hangs up in the middle of the answer's headers."""
    reply = await exchange.forward()
    fields = "".join(f"{name}: {value}\r\n" for name, value in reply.headers)
    head = f"HTTP/1.1 {reply.status} OK\r\n{fields}Content-Length: {len(reply.body)}\r\n".encode()
    await exchange.send_bytes(head[: rng.randrange(1, len(head))])
    exchange.drop(reset=rng.random() < 0.5)


@_kind(lambda request: request.method == "GET")
async def cut_answer(exchange, rng):
    """Resets the connection in the middle of the answer's body."""
    reply = await exchange.forward()
    await exchange.send(reply, stop_after=rng.randrange(max(1, len(reply.body))))
    exchange.drop(reset=True)


@_kind(lambda request: request.method == "GET")
async def truncate_answer(exchange, rng):
    """An orderly end, but of fewer bytes than announced."""
    reply = await exchange.forward()
    if not reply.body:
        await exchange.send(reply)
        return False
    await exchange.send(reply, stop_after=len(reply.body) - rng.randint(1, len(reply.body)))
    exchange.drop()


@_kind(_has_body)
async def truncate_request(exchange, rng):
    """The upstream is told of a shorter body, and gets that: it must notice by the digest."""
    body = await exchange.body()
    await exchange.send(await exchange.forward(body[: rng.randrange(len(body))]))


@_kind(lambda request: request.wants_object)
async def corrupt_answer(exchange, rng):
    """A bit of an object that has a checksum."""
    reply = await exchange.forward()
    if not _is_verified_object(reply):
        await exchange.send(reply)
        return False
    reply.body = _flipped(reply.body, rng)
    await exchange.send(reply)


@_kind(_has_body)
async def corrupt_request(exchange, rng):
    """A bit of a body that comes with a digest: BadDigest."""
    reply = await exchange.forward(_flipped(await exchange.body(), rng))
    await exchange.send(reply)


@_kind(ends=True)
async def duplicate(exchange, rng):
    """Arrives twice at once. A conditional one would find its own work in its way."""
    reply = await exchange.forward()
    again = await exchange.forward()
    repeatable = not exchange.request.is_conditional and rng.random() < 0.5
    await exchange.send(again if repeatable else reply)


@_kind(_is_one_change)
async def duplicate_late(exchange, rng):
    """Its answer is lost, and while the client repeats it, it arrives a second time by itself."""
    await exchange.forward()
    exchange.forward_late(rng.choice([0.05, 0.1, 0.4]))
    exchange.drop()


@_kind(lambda request: request.changes)
async def late(exchange, rng):
    """The connection is closed, and it arrives by itself, perhaps after a newer change of the object
    has been acknowledged. What creates an object does so at any time. All others do so well within
    the 2 s that the plugin waits where a condition does not help: a removal that has none, a PUT
    over what the object has become again, byte for byte."""
    await exchange.body()
    creates = "if-none-match" in exchange.request.headers
    exchange.forward_out_of_order(rng.choice([0.1, 1, 3, 6] if creates else [0.1, 0.3]))
    exchange.drop()


# A service that is too busy or unwell, as it says.


@_kind()
async def status_400(exchange, _):
    await _answer(exchange, 400, "RequestTimeout")


@_kind()
async def status_409(exchange, rng):
    await _answer(exchange, 409, rng.choice(["OperationAborted", ""]))


@_kind()
async def status_429(exchange, rng):
    await _answer(exchange, 429, rng.choice(["TooManyRequests", ""]))


@_kind(slow=True)
async def status_429_later(exchange, _):
    await _answer(exchange, 429, headers=[("Retry-After", "1")])


@_kind()
async def status_500(exchange, rng):
    await _answer(exchange, 500, rng.choice(["InternalError", ""]))


@_kind()
async def status_503(exchange, rng):
    await _answer(exchange, 503, rng.choice(["SlowDown", "ServiceUnavailable", ""]))


@_kind(slow=True)
async def status_503_later(exchange, rng):
    date = email.utils.formatdate(time.time() + 1, usegmt=True)
    await _answer(exchange, 503, "SlowDown", [("Retry-After", rng.choice(["1", date]))])


# A service, or a way to it, that is not there.


@_kind()
async def close(exchange, rng):
    """Hangs up at once."""
    exchange.drop(reset=rng.random() < 0.5)


@_kind(slow=True)
async def stall(exchange, _):
    """Takes the request and says nothing."""
    await exchange.until_client_leaves()


@_kind(lambda request: request.method == "GET", slow=True)
async def stall_answer(exchange, rng):
    """Says nothing more in the middle of an answer."""
    reply = await exchange.forward()
    if not reply.body:
        await exchange.send(reply)
        return False
    await exchange.send(reply, stop_after=rng.randrange(len(reply.body)))
    await exchange.until_client_leaves()


@_kind(_is_unconditional)
async def lost_answer(exchange, rng):
    """The request is done, but the client learns nothing, or that it failed."""
    reply = await exchange.forward()
    if rng.random() < 0.5:
        exchange.drop(reset=rng.random() < 0.5)
    await _answer(exchange, 500, "InternalError")
    return 200 <= reply.status < 300


# What no retry helps against, while it lasts.


@_kind()
async def bad_request(exchange, rng):
    await _answer(exchange, 400, rng.choice(["InvalidArgument", ""]))


@_kind()
async def forbidden(exchange, rng):
    await _answer(exchange, 403, rng.choice(["AccessDenied", "InvalidAccessKeyId", ""]))


@_kind()
async def not_found(exchange, rng):
    """Of a proxy that knows nothing, or of a wrong bucket."""
    await _answer(exchange, 404, rng.choice(["NoSuchBucket", ""]))


@_kind(_is_unconditional)
async def precondition_failed(exchange, rng):
    await _answer(exchange, 412, rng.choice(["PreconditionFailed", ""]))


@_kind(lambda request: request.method == "GET")
async def shorter_answer(exchange, rng):
    """A truncated object or listing, whose Content-Length agrees."""
    reply = await exchange.forward()
    if reply.status not in (200, 206):
        await exchange.send(reply)
        return False
    reply.body = reply.body[: rng.randrange(len(reply.body))]
    await exchange.send(reply)


# How often each comes, relative to the others. A stall takes seconds.
PASSING = {
    "delay": 14, "cut_request": 7, "cut_headers": 5, "cut_answer": 6, "truncate_answer": 6,
    "truncate_request": 7, "corrupt_answer": 9, "corrupt_request": 7, "duplicate": 14,
    "duplicate_late": 5, "late": 8, "status_400": 4, "status_409": 5, "status_500": 6, "close": 7,
    "stall": 0.2, "stall_answer": 0.2, "lost_answer": 8,
}  # fmt: skip
# These tell a client to send less at a time: a few are enough to slow everything down.
BUSY = {"status_429": 1, "status_429_later": 1, "status_503": 1, "status_503_later": 1}


class SeededFaults:
    """Chooses the fault for each request, and counts those that happened.

    seed           the same seed gives the n-th request the same fault, if it is of the same sort
    share          of the requests, or, with `lasting`, of the objects
    weights        kind -> how often, relative to the others
    lasting        an object's requests all meet the same fault, or never one
    most           else: no operation that ends within `window_s` meets more than so many that make
                   it try again, and at most one slow one
    """

    def __init__(self, seed, share, weights, lasting=False, most=3, window_s=8):
        self.seed, self.share, self.weights, self.lasting = seed, share, weights, lasting
        self.most, self.window_s = most, window_s
        self.counts = collections.Counter()  # kind -> how many happened
        self._met = collections.defaultdict(collections.deque)  # identity -> (when, was it slow)

    @property
    def total(self):
        """How many faults happened."""
        return sum(self.counts.values())

    def choose(self, request):
        """The fault for a request, or None."""
        rng = random.Random(f"{self.seed} {request.path if self.lasting else request.number}")
        if rng.random() >= self.share:
            return None
        # Attempts at an operation cannot be told from attempts at another one of the same kind.
        now, met = time.monotonic(), self._met[request.identity]
        while met and met[0][0] < now - self.window_s:
            met.popleft()
        if len(met) >= self.most and not self.lasting:
            return None
        name = self._choose_kind(request, rng, any(slow for _, slow in met) and not self.lasting)
        if name and not KINDS[name].ends:
            met.append((now, KINDS[name].slow))
        return name and self.counted(name, rng)

    def _choose_kind(self, request, rng, no_slow_one):
        fitting = {
            name: weight for name, weight in self.weights.items()
            if KINDS[name].applies(request) and not (no_slow_one and KINDS[name].slow)
        }  # fmt: skip
        return rng.choices(list(fitting), list(fitting.values()))[0] if fitting else None

    def counted(self, name, rng):
        """A kind's fault, with these random numbers; counted when it has happened."""
        kind = KINDS[name]

        async def act(exchange):
            happened = True
            try:
                happened = await kind.act(exchange, rng) is not False
            except UpstreamGone:
                happened = False
                raise
            finally:
                self.counts[name] += happened

        return act
