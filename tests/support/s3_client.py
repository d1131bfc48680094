"""A small S3 client of the tests' own: Signature V4 over http.client, nothing else.

It looks at and tampers with objects independently of the code under test, so it shares nothing
with it. Signature: AWS General Reference, "Create a signed AWS API request". Path-style only.
"""

import base64
import datetime
import hashlib
import hmac
import http.client
import ssl
import urllib.parse
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass


class S3Error(Exception):
    """An answer outside 2xx: `status` is HTTP's, `code` and `message` are the S3 error body's."""

    def __init__(self, what, status, code, message):
        super().__init__(f"{what}: {status} {code}: {message}")
        self.status, self.code, self.message = status, code, message


@dataclass(frozen=True)
class S3Object:
    """One line of a listing."""

    key: str
    size_bytes: int
    etag: str


@dataclass(frozen=True)
class S3Response:
    """A whole answer; header names are lower case."""

    status: int
    headers: dict
    body: bytes


def _quote(text, safe=""):
    return urllib.parse.quote(text, safe="-_.~" + safe)


def _hmac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def sign(method, path, query, headers, payload_hash, access_key, secret_key, region):
    """The Authorization header's value. `headers` (lower case) are all signed; `path` and `query`
    are already in canonical, quoted form; x-amz-date must be among the headers."""
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name].strip()}\n" for name in sorted(headers))
    canonical = "\n".join([method, path, query, lines, names, payload_hash])
    stamp = headers["x-amz-date"]
    scope = f"{stamp[:8]}/{region}/s3/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, digest])
    key = ("AWS4" + secret_key).encode()
    for part in scope.split("/"):
        key = _hmac(key, part)
    signature = _hmac(key, to_sign).hex()
    return (
        f"AWS4-HMAC-SHA256 Credential={access_key}/{scope}, "
        f"SignedHeaders={names}, Signature={signature}"
    )


class S3Client:
    """The verbs of S3 that tests use. Every request opens a connection of its own."""

    def __init__(
        self, endpoint, access_key, secret_key, region="us-east-1", ca_file=None, timeout_s=120
    ):
        self.endpoint = endpoint
        self.access_key, self.secret_key, self.region = access_key, secret_key, region
        self.ca_file, self.timeout_s = ca_file, timeout_s

    def request(self, method, bucket="", key="", query=None, headers=None, body=b""):
        """One signed request; the answer whatever its status. `query` is a dict of strings."""
        path = "/" + _quote(bucket) + ("/" + _quote(key, "/") if key else "")
        pairs = sorted((_quote(k), _quote(v)) for k, v in (query or {}).items())
        query_text = "&".join(f"{k}={v}" for k, v in pairs)
        url = urllib.parse.urlsplit(self.endpoint)
        payload_hash = hashlib.sha256(body).hexdigest()
        now = datetime.datetime.now(datetime.timezone.utc)
        signed = {name.lower(): value for name, value in (headers or {}).items()}
        signed.update(
            {
                "host": url.netloc,
                "x-amz-date": now.strftime("%Y%m%dT%H%M%SZ"),
                "x-amz-content-sha256": payload_hash,
            }
        )
        signed["authorization"] = sign(
            method, path, query_text, dict(signed), payload_hash,
            self.access_key, self.secret_key, self.region,
        )  # fmt: skip
        connection = self._connect(url)
        try:
            target = path + ("?" + query_text if query_text else "")
            connection.request(method, target, body=body or None, headers=signed)
            answer = connection.getresponse()
            fields = {name.lower(): value for name, value in answer.getheaders()}
            return S3Response(answer.status, fields, answer.read())
        finally:
            connection.close()

    def _connect(self, url):
        if url.scheme == "https":
            context = ssl.create_default_context(cafile=self.ca_file)
            return http.client.HTTPSConnection(
                url.hostname, url.port, timeout=self.timeout_s, context=context
            )
        return http.client.HTTPConnection(url.hostname, url.port, timeout=self.timeout_s)

    def _expect_success(self, method, bucket, key="", **rest):
        answer = self.request(method, bucket, key, **rest)
        if 200 <= answer.status < 300:
            return answer
        code, message = "", answer.body[:200].decode(errors="replace")
        if answer.body.startswith(b"<"):
            error = ElementTree.fromstring(answer.body)
            code, message = error.findtext("Code", ""), error.findtext("Message", "") or ""
        raise S3Error(f"{method} {bucket}/{key}", answer.status, code, message)

    def create_bucket(self, bucket):
        """Creates `bucket`; creating one's own bucket again is no error."""
        self._expect_success("PUT", bucket)

    def delete_bucket(self, bucket):
        """Deletes `bucket` together with all its objects."""
        for item in self.list(bucket):
            self.delete(bucket, item.key)
        self._expect_success("DELETE", bucket)

    def list(self, bucket, prefix=""):
        """All objects under `prefix` as S3Object, in key order, over as many pages as it takes."""
        found, query = [], {"list-type": "2", "prefix": prefix}
        while True:
            page = ElementTree.fromstring(self._expect_success("GET", bucket, query=query).body)
            space = page.tag[: page.tag.index("}") + 1] if "}" in page.tag else ""
            for item in page.iter(f"{space}Contents"):
                found.append(
                    S3Object(
                        item.findtext(f"{space}Key"),
                        int(item.findtext(f"{space}Size")),
                        item.findtext(f"{space}ETag").strip('"'),
                    )
                )
            if page.findtext(f"{space}IsTruncated") != "true":
                return found
            query["continuation-token"] = page.findtext(f"{space}NextContinuationToken")

    def keys(self, bucket, prefix=""):
        """The keys alone of list()."""
        return [item.key for item in self.list(bucket, prefix)]

    def get(self, bucket, key, first=None, last=None):
        """The object's bytes, or its bytes `first` to `last` inclusive."""
        headers = {} if first is None else {"Range": f"bytes={first}-{last}"}
        return self._expect_success("GET", bucket, key, headers=headers).body

    def head(self, bucket, key):
        """The object's headers (names in lower case): size, ETag, x-amz-meta-*."""
        return self._expect_success("HEAD", bucket, key).headers

    def metadata(self, bucket, key):
        """The x-amz-meta-* headers alone, without that prefix."""
        prefix = "x-amz-meta-"
        fields = self.head(bucket, key).items()
        return {name[len(prefix) :]: value for name, value in fields if name.startswith(prefix)}

    def put(self, bucket, key, data, headers=None):
        """Stores `data`, with Content-MD5, as one object."""
        fields = {"Content-MD5": base64.b64encode(hashlib.md5(data).digest()).decode()}
        fields.update(headers or {})
        self._expect_success("PUT", bucket, key, headers=fields, body=data)

    def delete(self, bucket, key):
        """Deletes the object; that it is absent is no error."""
        self._expect_success("DELETE", bucket, key)
