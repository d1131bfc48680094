"""Requests to an S3 service, counted by what they are for.

    with CountingProxy(s3.endpoint) as proxy:
        ... use proxy.endpoint ...
        assert proxy.kinds()["PUT"] == 3 and not proxy.stored_zeros()

Counted are the requests that concern blocks. A volume's descriptor, its lease and the probes
before it are left out: they are the same whatever is read and written, but for renewals of the
lease, which come with time.
"""

import collections

from servers.faulty_http import FaultyProxy

# A GET is of an object or of a part of one; a GET of the bucket is a LIST, of 1,000 keys at most; a
# POST removes many objects at once.
KINDS = ("GET", "LIST", "PUT", "DELETE", "POST delete", "HEAD")

_NOT_BLOCKS = "nbdstack-"


def kind_of(request):
    """One of KINDS for a faulty_http.Request, or None: it concerns no block. Whatever S3 has
    besides is named as it is."""
    _, _, key = request.path.lstrip("/").partition("/")
    if key:
        return None if key.rpartition("/")[2].startswith(_NOT_BLOCKS) else request.method
    options = {pair.partition("=")[0] for pair in request.query.split("&")}
    if request.method == "GET" and options & {"list-type", "prefix"}:
        return "LIST"
    if request.method == "POST" and "delete" in options:
        return "POST delete"
    return f"{request.method} bucket?{request.query}"


class CountingProxy(FaultyProxy):
    """A proxy without faults that keeps counts of what passes, and no bodies."""

    def __init__(self, upstream):
        super().__init__(upstream)
        self._zeros = []
        self.behaviour = lambda _: self._note_and_pass

    def _note_and_pass(self, exchange):
        reply = exchange.forward()
        request = exchange.request
        if kind_of(request) == "PUT" and not any(request.body):
            self._zeros.append(request.path)
        request.body = b""
        exchange.send(reply)

    def kinds(self):
        """Requests so far, by kind."""
        kinds = collections.Counter(kind_of(request) for request in self.requests)
        del kinds[None]
        return kinds

    def paths(self, kind):
        """The paths of all requests of a kind so far, in order of arrival."""
        return [request.path for request in self.requests if kind_of(request) == kind]

    def misses(self):
        """How many GETs so far were of objects that are not there."""
        return sum(kind_of(r) == "GET" and r.status == 404 for r in self.requests)

    def stored_zeros(self):
        """The paths of all PUTs of nothing but zeros."""
        return list(self._zeros)
