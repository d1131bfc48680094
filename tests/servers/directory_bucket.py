"""What a directory bucket of S3 Express One Zone asks of its clients, for MemoryS3: sessions, and what
such a bucket does not know. A fake after AWS's documentation; nobody has compared it with AWS.

Requests are signed with what CreateSession gave, for the service s3express. Signatures are not
checked; whose they are, and for what, is.
"""

import base64
import datetime
import hashlib
import re

_LIFETIME_S = 300
_SESSION = """<CreateSessionResult><Credentials><SessionToken>{0}</SessionToken>
<SecretAccessKey>secret</SecretAccessKey><AccessKeyId>{1}</AccessKeyId>
<Expiration>{2:%Y-%m-%dT%H:%M:%SZ}</Expiration></Credentials></CreateSessionResult>"""


class Sessions:
    """All sessions of a server's directory buckets."""

    def __init__(self):
        self.created = 0
        self._live = {}  # token -> access key

    def end_all(self):
        """Their five minutes are over."""
        self._live.clear()

    def create(self, handler):
        """CreateSession: a whole answer; None for every other request."""
        if handler.command != "GET" or handler.query != {"session": ""}:
            return None
        self.created += 1
        token, key = f"token-{self.created}", f"SESSION{self.created}"
        self._live[token] = key
        now = datetime.datetime.now(datetime.timezone.utc)
        text = _SESSION.format(token, key, now + datetime.timedelta(seconds=_LIFETIME_S))
        return 200, {"Content-Type": "application/xml"}, text.encode()

    def refusal(self, handler):
        """(status, code) where the request is none for a directory bucket."""
        signed_by = re.search(
            r"Credential=([^/]+)/\d+/[^/]+/s3express/", handler.headers.get("Authorization", "")
        )
        if not signed_by:
            return 403, "AccessDenied"
        if handler.query == {"session": ""}:
            return None
        token = handler.headers.get("x-amz-s3session-token")
        if token not in self._live:
            return 400, "ExpiredToken"
        if self._live[token] != signed_by[1]:
            return 403, "InvalidAccessKeyId"
        return _refusal_of_body(handler) or _refusal_of_listing(handler)


def _refusal_of_body(handler):
    for unknown in "Content-MD5", "x-amz-acl", "x-amz-server-side-encryption":
        if unknown in handler.headers:
            return 501, "NotImplemented"
    if handler.command not in ("PUT", "POST"):
        return None
    digest = base64.b64encode(hashlib.sha256(handler.body).digest()).decode()
    if handler.headers.get("x-amz-checksum-sha256") != digest:
        return 400, "BadDigest"
    return None


def _refusal_of_listing(handler):
    prefix = handler.query.get("prefix", "")
    if (prefix and not prefix.endswith("/")) or "start-after" in handler.query:
        return 400, "InvalidRequest"
    return None
