"""Credentials, region, endpoint and authorities are those that boto3 would use.

Both are given the same environment and the same files, and both meet the same stub of AWS
(servers/aws_stub.py), which sees where each sends its first request for S3, signed by whom. A key
from a role, single sign-on, container or instance is made of everything that was asked to get it.

What differs by design stands in boto3_cases.DIFFERENCES, with its reason; the manual page of the
settings says the same. A difference that is none any more is a failure, too.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from dataclasses import dataclass

from botocore import configprovider, credentials

from e2e.boto3_cases import (
    BASE, BOTOCORE, CASES, DIFFERENCES, ENV, FILES, Case, random_case, session_cache,
)  # fmt: skip
from servers.aws_stub import AwsStub
from support.nbdkit import ROOT
from support.s3_command import our_s3_command

BUCKET = "bucket"
SEEDS = range(60)


@dataclass(frozen=True)
class Used:
    """What a client would use for S3. `place` is without the bucket."""

    place: str
    signer: str
    region: str
    token: str


class Boto3Agrees(unittest.TestCase):
    """All cases over one stub and one worker."""

    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.directory = pathlib.Path(tempfile.mkdtemp(prefix="boto3-agrees-"))
        cls.addClassCleanup(shutil.rmtree, cls.directory)
        cls.home = cls.directory / "home"
        cls.aws = AwsStub(cls.directory)
        cls.addClassCleanup(cls.aws.close)
        worker = pathlib.Path(__file__).parents[1] / "support" / "boto3_worker.py"
        cls.worker = subprocess.Popen(  # pylint: disable=consider-using-with
            [sys.executable, str(worker)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={"HOME": str(cls.home), "PATH": os.environ["PATH"]},
        )  # fmt: skip
        cls.addClassCleanup(cls._end_worker)

    @classmethod
    def _end_worker(cls):
        cls.worker.stdin.close()
        cls.worker.wait(60)
        cls.worker.stdout.close()

    def _filled(self, text):
        for name, value in (
            ("home", self.home), ("aws", self.aws.url), ("authority", self.aws.authority),
        ):  # fmt: skip
            text = text.replace("{" + name + "}", str(value))
        return text

    def _set_up(self, case):
        """The files of the case; its environment."""
        shutil.rmtree(self.home, ignore_errors=True)
        own = {".aws/config": case.config, ".aws/credentials": case.credentials}
        for name, text in (FILES | own | case.files).items():
            if text:
                path = self.home / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(self._filled(text))
        variables = (BASE | case.environment).items()
        return {name: self._filled(value) for name, value in variables if value}

    def _used(self, style):
        """Of the first request that the stub has seen; the set `style` gets how it named the
        bucket."""
        seen = self.aws.take_s3_requests()
        if not seen:
            return None
        scheme, _, host = seen[0].place.partition("://")
        style.add("path" if seen[0].path.startswith(f"/{BUCKET}") else "virtual")
        host = host.removeprefix(f"{BUCKET}.")
        # The older name of the same place.
        host = re.sub(r"^s3\.amazonaws\.com$", "s3.us-east-1.amazonaws.com", host)
        return Used(f"{scheme}://{host}", seen[0].signer, seen[0].region, seen[0].token)

    def _ours(self, case, style):
        environment = self._set_up(case)
        words = [f"profile={case.profile}"] if case.profile else []
        done = subprocess.run(
            [our_s3_command(), "list", f"bucket={BUCKET}", "retries=0", *words],
            env=environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertNotIn("secret/", done.stderr)
        return self._used(style), done.stderr

    def _boto3s(self, case, style):
        request = {
            "environment": self._set_up(case), "profile": case.profile, "bucket": BUCKET,
        }  # fmt: skip
        self.worker.stdin.write(json.dumps(request) + "\n")
        self.worker.stdin.flush()
        outcome = json.loads(self.worker.stdout.readline())
        return self._used(style), outcome

    def _both(self, case):
        """(ours, boto3's, what both said)."""
        ours, our_words = self._ours(case, set())
        theirs, their_words = self._boto3s(case, set())
        return ours, theirs, f"ours: {our_words}\nboto3: {their_words}\n{case}"

    def test_what_boto3_uses_is_used(self):
        for name, case in CASES.items():
            with self.subTest(name):
                ours, theirs, words = self._both(case)
                if case.place:
                    self.assertEqual(ours.place, self._filled(case.place), words)
                if BOTOCORE >= case.since:
                    self.assertEqual(ours, theirs, words)

    def test_what_boto3_uses_is_used_whatever_the_files_say(self):
        found = set()
        for seed in SEEDS:
            with self.subTest(seed=seed):
                ours, theirs, words = self._both(random_case(seed))
                self.assertEqual(ours, theirs, words)
                found.add(ours)
        self.assertGreater(len(found), len(SEEDS) // 4, "the cases differ from each other")

    def test_what_differs_by_design_still_does(self):
        for name, (why, case) in DIFFERENCES.items():
            with self.subTest(name, why=why):
                ours, theirs, words = self._both(case)
                self.assertNotEqual(ours, theirs, words)

    def test_the_bucket_is_in_the_path_unless_the_profile_says_otherwise(self):
        for config, our_style, their_style in (
            ("", "path", "virtual"),
            ("[default]\ns3 =\n  addressing_style = virtual\n", "virtual", "virtual"),
            ("[default]\ns3 =\n  addressing_style = path\n", "path", "path"),
        ):
            with self.subTest(config):
                ours, theirs = set(), set()
                self._ours(Case(ENV, config=config), ours)
                self._boto3s(Case(ENV, config=config), theirs)
                self.assertEqual((ours, theirs), ({our_style}, {their_style}))

    def test_the_manual_page_names_all_that_boto3_knows(self):
        page = (ROOT / "man" / "nbdstack-s3-config.pod").read_text()
        names = set()
        for table in (
            configprovider.BOTOCORE_DEFAUT_SESSION_VARIABLES,
            configprovider.DEFAULT_S3_CONFIG_VARS,
            configprovider.DEFAULT_PROXIES_CONFIG_VARS,
        ):
            for settings, variables, *_ in table.values():
                for given in (settings, variables):
                    for name in given if isinstance(given, list) else [given]:
                        names.add(" = ".join(name) if isinstance(name, tuple) else name)
        names |= {
            *credentials.EnvProvider.TOKENS, credentials.EnvProvider.EXPIRY_TIME,
            *credentials.SharedCredentialProvider.TOKENS,
            *credentials.SSOProvider._ALL_REQUIRED_CONFIG_VARS,  # pylint: disable=protected-access
            credentials.ContainerProvider.ENV_VAR, credentials.ContainerProvider.ENV_VAR_FULL,
            credentials.ContainerProvider.ENV_VAR_AUTH_TOKEN,
            credentials.OriginalEC2Provider.CRED_FILE_ENV, credentials.BotoProvider.BOTO_CONFIG_ENV,
        }  # fmt: skip
        names.discard(None)
        self.assertGreater(len(names), 60)
        for name in sorted(names):
            with self.subTest(name):
                self.assertRegex(page, rf"(?<![\w]){re.escape(name)}(?![\w])")

    def test_a_renewed_token_is_kept_as_boto3_keeps_it(self):
        case = CASES["a token that is renewed"]
        cache = self.home / session_cache("corp")
        kept = []
        for run in (self._ours, self._boto3s):
            run(case, set())
            kept.append(json.loads(cache.read_text()))
            if run == self._ours:  # boto3 leaves a file as it is
                self.assertEqual(cache.stat().st_mode & 0o777, 0o600)
            self.assertRegex(kept[-1].pop("expiresAt"), r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        self.assertEqual(kept[0], kept[1])
        self.assertEqual(kept[0]["refreshToken"], "used")


if __name__ == "__main__":
    unittest.main()
