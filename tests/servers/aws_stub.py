"""All of AWS that gives credentials and takes requests for S3, on one port of this machine: it shows
what a client would use.

    with AwsStub(directory) as aws:
        ... a client with HTTPS_PROXY=aws.url and AWS_CA_BUNDLE=aws.authority ...
        aws.s3_requests

As a proxy it answers for every host of AWS's over TLS, with certificates of its own authority, so
that a client is met at the very addresses that it would use. Asked directly, it is whatever the path
says: the metadata service of EC2, the endpoint of a container, or an endpoint_url of any service.

Whoever asks for credentials gets an access key that is made of all that was asked and as whom, so
that two clients end with the same key if they went the same way. Its secret key is secret_of(key).
Requests for S3 are refused (403), and kept: where they went, signed by whom and for which region.
"""

import hashlib
import hmac
import http.server
import json
import re
import ssl
import subprocess
import threading
import urllib.parse
from dataclasses import dataclass

_REGIONS = {
    "amazonaws.com": ("us-east-1", "us-east-2", "eu-west-1", "eu-central-1", "us-gov-west-1"),
    "amazonaws.com.cn": ("cn-north-1",),
}
# Each client makes up a name for a session without one.
_MADE_UP_NAME = re.compile(r"(botocore-session|nbdkit-s3)-\d+")
_SIGNATURE = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/([^/]+)/([^/]+)/([^/]+)/aws4_request, ?"
    r"SignedHeaders=([^,]+), ?Signature=(\w+)"
)
END = "2037-01-02T03:04:05Z"
END_S = 2114478245


def secret_of(access_key):
    """The secret key that belongs to it."""
    return f"secret/{access_key}"


def key_of(*facts):
    """The access key of who has asked for just this."""
    return "ASIA" + hashlib.sha1(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16].upper()


@dataclass(frozen=True)
class Seen:
    """A request for S3."""

    place: str  # "https://s3.eu-west-1.amazonaws.com"
    path: str  # without the query: "/bucket"
    signer: str  # the access key; "wrong secret of KEY"; "nobody"
    region: str
    token: str


class AwsStub:
    """The server, from the constructor to close(). `directory` is where certificates go."""

    def __init__(self, directory):
        self.authority = str(directory / "authority.pem")
        self._directory = directory
        self._make_certificates()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(directory / "server.pem", directory / "server.key")
        self._lock = threading.Lock()
        self._s3_requests = []
        handler = type("Handler", (_Handler,), {"aws": self})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def url(self):
        """Where it is asked directly, and as a proxy."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def take_s3_requests(self):
        """What has been seen since the last call."""
        with self._lock:
            seen, self._s3_requests = self._s3_requests, []
        return seen

    def saw(self, request):
        """From a connection's thread."""
        with self._lock:
            self._s3_requests.append(request)

    def close(self):
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _make_certificates(self):
        names = []
        for domain, regions in _REGIONS.items():
            names += [f"*.{domain}", f"*.s3.{domain}"]
            for region in regions:
                names += [f"*.{region}.{domain}", f"*.sso.{region}.{domain}"]
                for label in ("s3", "s3-fips"):
                    for place in (f"{region}.{domain}", f"dualstack.{region}.{domain}"):
                        names += [f"{label}.{place}", f"*.{label}.{place}"]
        (self._directory / "names").write_text(
            "subjectAltName=" + ",".join(f"DNS:{name}" for name in names)
        )
        new = ["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test"]
        self._openssl(*new, "-x509", "-days", "2", "-keyout", "authority.key", "-out", self.authority)
        self._openssl(*new, "-keyout", "server.key", "-out", "server.csr")
        self._openssl(
            "openssl", "x509", "-req", "-in", "server.csr", "-CA", self.authority,
            "-CAkey", "authority.key", "-CAcreateserial", "-days", "2", "-extfile", "names",
            "-out", "server.pem",
        )  # fmt: skip

    def _openssl(self, *words):
        subprocess.run(words, cwd=self._directory, check=True, capture_output=True)


def _signer_of(request):
    """Of a request: (access key or "wrong secret of KEY" or "nobody", region)."""
    found = _SIGNATURE.fullmatch(request.headers.get("authorization", ""))
    if not found:
        return "nobody", ""
    key, date, region, service, names, signature = found.groups()
    headers = "".join(f"{name}:{request.headers[name].strip()}\n" for name in names.split(";"))
    payload = request.headers.get("x-amz-content-sha256") or hashlib.sha256(request.body).hexdigest()
    path, _, query = request.path.partition("?")
    canonical = "\n".join(
        [request.command, path, "&".join(sorted(query.split("&"))), headers, names, payload]
    )
    scope = f"{date}/{region}/{service}/aws4_request"
    text = "\n".join(
        ["AWS4-HMAC-SHA256", request.headers["x-amz-date"], scope,
         hashlib.sha256(canonical.encode()).hexdigest()]
    )  # fmt: skip
    derived = ("AWS4" + secret_of(key)).encode()
    for part in (date, region, service, "aws4_request"):
        derived = hmac.new(derived, part.encode(), "sha256").digest()
    right = hmac.new(derived, text.encode(), "sha256").hexdigest()
    return (key if right == signature else f"wrong secret of {key}"), region


class _Handler(http.server.BaseHTTPRequestHandler):
    """A connection, which is the client's to this server or, after CONNECT, to a host of AWS's."""

    protocol_version = "HTTP/1.1"
    aws = None
    place = None  # after CONNECT
    body = b""

    def log_message(self, *_):
        """Nothing is said."""

    def do_CONNECT(self):  # noqa: N802
        """Becomes the host."""
        self.send_response(200)
        self.end_headers()
        host = self.path.removesuffix(":443")
        try:
            self.connection = self.aws.context.wrap_socket(self.connection, server_side=True)
        except (ssl.SSLError, ConnectionError):
            self.close_connection = True
            return
        self.place = f"https://{host}"
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb", 0)
        self.close_connection = False

    def finish(self):
        """Closes what do_CONNECT() has put in the connection's place."""
        super().finish()
        if self.place:
            self.connection.close()

    def _any(self):
        self.body = self.rfile.read(int(self.headers.get("content-length") or 0))
        place = self.place or f"http://{self.headers['host']}"
        path = urllib.parse.urlsplit(self.path).path
        form = dict(urllib.parse.parse_qsl(self.body.decode("latin-1")))
        if path.startswith("/latest/"):
            self._metadata(path)
        elif path.startswith("/container"):
            self._container(path)
        elif form.get("Action", "").startswith("AssumeRole"):
            self._sts(place, path, form)
        elif path.endswith("/federation/credentials"):
            self._single_sign_on(place, path)
        elif path.endswith("/token") and self.command == "POST":
            self._token(place, path)
        else:
            self._s3(place, path)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _any  # noqa: N815

    def _s3(self, place, path):
        signer, region = _signer_of(self)
        token = self.headers.get("x-amz-security-token", "")
        self.aws.saw(Seen(place, path, signer, region, token))
        self._answer(403, "<Error><Code>AccessDenied</Code><Message>stub</Message></Error>")

    def _sts(self, place, path, form):
        signer, region = _signer_of(self)
        name = form.get("RoleSessionName", "")
        key = key_of(
            "sts", place, path, form["Action"], form["RoleArn"], signer, region,
            "" if _MADE_UP_NAME.fullmatch(name) else name, form.get("ExternalId", ""),
            form.get("DurationSeconds", ""), form.get("WebIdentityToken", ""),
            self.headers.get("x-amz-security-token", ""),
        )  # fmt: skip
        action = form["Action"]
        self._answer(
            200,
            f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result>'
            f"<Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{secret_of(key)}"
            f"</SecretAccessKey><SessionToken>token/{key}</SessionToken><Expiration>{END}"
            f"</Expiration></Credentials></{action}Result></{action}Response>",
        )

    def _single_sign_on(self, place, path):
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
        key = key_of("sso", place, path, query, self.headers.get("x-amz-sso_bearer_token"))
        self._answer_json({
            "roleCredentials": {
                "accessKeyId": key, "secretAccessKey": secret_of(key),
                "sessionToken": f"token/{key}", "expiration": END_S * 1000,
            }
        })  # fmt: skip

    def _token(self, place, path):
        asked = json.loads(self.body)
        if asked["refreshToken"] == "used":
            self._answer_json({"error": "invalid_grant"}, 400)
            return
        self._answer_json(
            {"accessToken": key_of("oidc", place, path, asked), "expiresIn": 3600,
             "refreshToken": "used", "tokenType": "Bearer"}
        )  # fmt: skip

    def _metadata(self, path):
        if path == "/latest/api/token":
            self._answer(200, "metadata token")
        elif path.endswith("/security-credentials/"):
            self._answer(200, "role")
        else:
            self._hand_out(key_of("imds", path, self.headers.get("x-aws-ec2-metadata-token")))

    def _container(self, path):
        self._hand_out(key_of("container", path, self.headers.get("authorization")))

    def _hand_out(self, key):
        self._answer_json({
            "Code": "Success", "AccessKeyId": key, "SecretAccessKey": secret_of(key),
            "Token": f"token/{key}", "Expiration": END,
        })  # fmt: skip

    def _answer_json(self, value, status=200):
        self._answer(status, json.dumps(value))

    def _answer(self, status, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
