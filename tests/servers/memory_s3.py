"""A small S3 server in this process: buckets in dictionaries, for what a real server does not do on
demand, such as to hold objects exactly as somebody else has left them, or to know no conditions.

    with MemoryS3({"disk": {"00000000": StoredObject(b"...", {"content-encoding": "zstd"})}}) as s3:
        ... use s3.endpoint, look at s3.buckets["disk"], set s3.conditions = Conditions.UNKNOWN ...

Path-style addresses and virtual hosts, also as everybody's proxy (GET http://HOST/BUCKET/KEY); no
signature is checked. A bucket named like a directory bucket is one (directory_bucket.py).
It does what a volume needs: PUT with Content-MD5 and conditions, GET with ranges, HEAD, DELETE,
DeleteObjects and ListObjectsV2. One thread a connection.
"""

import base64
import collections
import contextlib
import datetime
import email.utils
import enum
import hashlib
import http.server
import re
import threading
import urllib.parse
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from servers.directory_bucket import Sessions

_KEPT = re.compile(r"content-type|content-encoding|cache-control|x-amz-meta-.*|x-amz-storage-class")
_PAGE = 1000


class Conditions(enum.Enum):
    """What the server makes of If-Match and If-None-Match in a PUT, and of If-Match and ETags in
    removals."""

    HONOURED = "412 where they are not met"
    IGNORED = "the object is stored all the same"
    UNKNOWN = "501 NotImplemented"


def _now():
    return datetime.datetime.now(datetime.timezone.utc)


@dataclass
class StoredObject:
    """An object: its bytes, and the headers that were stored with it (names in lower case)."""

    body: bytes
    headers: dict = field(default_factory=dict)
    stored: datetime.datetime = field(default_factory=_now)

    @property
    def etag(self):
        """The MD5 of the body, in quotes."""
        return f'"{hashlib.md5(self.body).hexdigest()}"'


class MemoryS3:
    """The server, from start() to stop(). `buckets` (name -> key -> StoredObject) may be looked at
    and changed between requests; take `lock` while there are any."""

    def __init__(
        self, buckets=None, conditions=Conditions.HONOURED, of_removals=None, address="127.0.0.1"
    ):
        self.address = address
        self.buckets = {name: dict(objects) for name, objects in (buckets or {}).items()}
        self.conditions = conditions
        # Many services keep conditions of PUTs only.
        self.conditions_of_removals = of_removals or conditions
        self.listed = None  # a function: which of the objects listings show; None: all
        # A function: what listings sort keys by instead of their bytes, as S3 Express does; such a
        # service does not know how to begin after a key, nor prefixes without a slash at the end.
        self.order = None
        self.versions = {}  # by bucket: KeptVersions of those that keep them
        # A function: (status, code[, headers]) by which a request, as its handler has it, is refused,
        # or None.
        self.refusal = lambda _: None
        self.hosts = {}  # of virtual hosts: the bucket each is
        self.sessions = Sessions()  # of buckets whose names end as a directory bucket's
        self.requests = collections.Counter()  # by method
        self.body_bytes = collections.Counter()  # of answers, by method of the request
        self.lock = threading.Lock()
        self._server = self._thread = None

    @property
    def endpoint(self):
        """The service's URL."""
        return f"http://{self.address}:{self.port}"

    @property
    def port(self):
        """The port that it listens on."""
        return self._server.server_address[1]

    def parameters(self, bucket):
        """Parameters of the s3 plugin that lead here."""
        return {
            "bucket": bucket,
            "endpoint-url": self.endpoint,
            "region": "us-east-1",
            "access-key": "any",
            "secret-key": "any",
        }

    def start(self):
        """Serves from now on, on a free port."""
        self._server = _Server((self.address, 0), _Handler)
        self._server.s3 = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def stop(self):
        """Closes the port. Safe to call twice."""
        if self._thread:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._thread = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128


class _Failure(Exception):
    """An answer that is an S3 error."""

    def __init__(self, status, code, headers=None):
        super().__init__(f"{status} {code}")
        self.status, self.code, self.headers = status, code, headers or {}


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, format, *arguments):
        """Silence: the tests look at the objects."""

    def handle_any(self):
        """Every request comes here."""
        s3 = self.server.s3
        url = urllib.parse.urlsplit(self.path)
        self.query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        path = urllib.parse.unquote(url.path).lstrip("/")
        if self.headers["Host"] in s3.hosts:
            path = s3.hosts[self.headers["Host"]] + "/" + path
        bucket, _, self.key = path.partition("/")
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            with s3.lock:
                s3.requests[self.command] += 1
                answer = self._answer(s3, bucket)
        except _Failure as failure:
            answer = (failure.status, failure.headers, _error_body(failure))
        with s3.lock:
            s3.body_bytes[self.command] += len(answer[2])
        with contextlib.suppress(OSError):
            self._send(*answer)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = handle_any

    def _answer(self, s3, bucket):
        is_directory = bucket.endswith("--x-s3")
        refusal = s3.refusal(self) or (is_directory and s3.sessions.refusal(self))
        if refusal:
            raise _Failure(*refusal)
        if bucket and not self.key and self.command == "PUT":
            s3.buckets.setdefault(bucket, {})
            return 200, {}, b""
        if bucket not in s3.buckets:
            raise _Failure(404, "NoSuchBucket")
        objects = s3.buckets[bucket]
        session = is_directory and s3.sessions.create(self)
        if session:
            return session
        self.versions = s3.versions.get(bucket)
        if self.key:
            verbs = {"GET": _get, "HEAD": _get, "PUT": _put, "DELETE": _delete}
        else:
            verbs = {"GET": _list, "HEAD": lambda *_: (200, {}, b""), "POST": _delete_many}
        if self.command not in verbs:
            raise _Failure(405, "MethodNotAllowed")
        return verbs[self.command](self, objects)

    def _send(self, status, headers, body):
        self.send_response(status)
        length = headers.pop("content-length", len(body))
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _error_body(failure):
    return f"<Error><Code>{failure.code}</Code><Message>no</Message></Error>".encode()


def _put(handler, objects):
    checksum = handler.headers.get("Content-MD5")
    if checksum and checksum != base64.b64encode(hashlib.md5(handler.body).digest()).decode():
        raise _Failure(400, "BadDigest")
    conditions = [handler.headers.get(name) for name in ("If-Match", "If-None-Match")]
    if any(conditions) and handler.server.s3.conditions is Conditions.UNKNOWN:
        raise _Failure(501, "NotImplemented")
    if handler.server.s3.conditions is Conditions.HONOURED:
        _check_conditions(objects.get(handler.key), *conditions)
    kept = {n.lower(): v for n, v in handler.headers.items() if _KEPT.fullmatch(n.lower())}
    stored = objects[handler.key] = StoredObject(handler.body, kept)
    headers = {"ETag": stored.etag}
    if handler.versions:
        headers["x-amz-version-id"] = handler.versions.put(handler.key, stored)
    return 200, headers, b""


def _check_conditions(found, if_match, if_none_match):
    if if_match is not None and found is None:
        raise _Failure(404, "NoSuchKey")
    if if_match is not None and if_match != found.etag:
        raise _Failure(412, "PreconditionFailed")
    if if_none_match is not None and found is not None:
        raise _Failure(412, "PreconditionFailed")


def _get(handler, objects):
    if handler.key not in objects:
        raise _Failure(404, "NoSuchKey")
    found = objects[handler.key]
    if handler.headers.get("If-Match", found.etag) != found.etag:
        raise _Failure(412, "PreconditionFailed")
    headers = dict(found.headers)
    headers["ETag"] = found.etag
    headers["Last-Modified"] = email.utils.format_datetime(found.stored, usegmt=True)
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", handler.headers.get("Range", ""))
    if not asked:
        return 200, headers | {"content-length": len(found.body)}, found.body
    first = int(asked[1])
    if first >= len(found.body):
        raise _Failure(416, "InvalidRange")
    last = min(int(asked[2] or len(found.body)), len(found.body) - 1)
    headers["Content-Range"] = f"bytes {first}-{last}/{len(found.body)}"
    return 206, headers, found.body[first : last + 1]


def _delete(handler, objects):
    _check_removal(handler, objects.get(handler.key), handler.headers.get("If-Match"))
    marker = _remove(handler, objects, handler.key, handler.query.get("versionId"))
    return 204, {"x-amz-delete-marker": "true"} if marker else {}, b""


def _remove(handler, objects, key, version):
    """Whether a delete marker has taken the object's place."""
    if not handler.versions:
        objects.pop(key, None)
    elif version:
        handler.versions.remove(key, version)
    else:
        handler.versions.put(key, None)
    return handler.versions and not version


def _check_removal(handler, found, etag):
    """What is not there is no failure."""
    how = handler.server.s3.conditions_of_removals
    if etag is not None and how is Conditions.UNKNOWN:
        raise _Failure(501, "NotImplemented")
    if etag is not None and how is Conditions.HONOURED and found and found.etag != etag:
        raise _Failure(412, "PreconditionFailed")


def _delete_many(handler, objects):
    if "delete" not in handler.query:
        raise _Failure(400, "InvalidRequest")
    failures = []
    for element in ElementTree.fromstring(handler.body).findall("{*}Object"):
        key = element.findtext("{*}Key")
        try:
            _check_removal(handler, objects.get(key), element.findtext("{*}ETag"))
            _remove(handler, objects, key, element.findtext("{*}VersionId"))
        except _Failure as failure:
            failures.append(
                f"<Error><Key>{escape(key)}</Key><Code>{failure.code}</Code></Error>"
            )
    text = f"<DeleteResult>{''.join(failures)}</DeleteResult>"
    return 200, {"Content-Type": "application/xml"}, text.encode()


def _list(handler, objects):
    query = handler.query
    if "versions" in query:
        if not handler.versions:
            raise _Failure(501, "NotImplemented")
        page = min(int(query.get("max-keys", _PAGE)), _PAGE)
        text = handler.versions.listing(query, page)
        return 200, {"Content-Type": "application/xml"}, text.encode()
    if handler.server.s3.listed:
        objects = handler.server.s3.listed(objects)
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    order = handler.server.s3.order
    if order and prefix and not prefix.endswith("/"):
        raise _Failure(400, "InvalidRequest")
    after = query.get("continuation-token") or ("" if order else query.get("start-after", ""))
    page = min(int(query.get("max-keys", _PAGE)), _PAGE)
    # What is listed: a key, or for all that share it a prefix up to the delimiter.
    names = {}
    for key in sorted(objects):
        if key.startswith(prefix):
            end = key.find(delimiter, len(prefix)) if delimiter else -1
            names.setdefault(key if end < 0 else key[: end + len(delimiter)], key)
    left = sorted(names, key=order)
    if after:
        left = [name for name in left if (order or str)(name) > (order or str)(after)]
    text = ['<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">']
    for name in left[:page]:
        if name in objects:
            text.append(_listed(name, objects[name]))
        else:
            text.append(f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>")
    text.append(f"<IsTruncated>{'true' if len(left) > page else 'false'}</IsTruncated>")
    if len(left) > page:
        text.append(f"<NextContinuationToken>{escape(left[page - 1])}</NextContinuationToken>")
    text.append("</ListBucketResult>")
    return 200, {"Content-Type": "application/xml"}, "".join(text).encode()


def _listed(key, found):
    stored = found.stored.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return (
        f"<Contents><Key>{escape(key)}</Key><LastModified>{stored}</LastModified>"
        f"<ETag>{escape(found.etag)}</ETag><Size>{len(found.body)}</Size></Contents>"
    )
