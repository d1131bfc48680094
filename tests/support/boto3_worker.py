"""Sends one request for S3 by boto3 for each line of JSON on standard input, and answers each with a
line: what became of it, in boto3's words.

    {"environment": {...}, "profile": null, "bucket": "b"}

A process of its own, because botocore takes HOME from the environment once, and only that.
"""

import json
import logging
import os
import sys

import boto3
import botocore.loaders
import botocore.session

_MODELS = botocore.loaders.create_loader()


def request(environment, profile, bucket):
    """Lists a bucket."""
    os.environ.clear()
    os.environ.update(environment)
    core = botocore.session.Session()
    core.register_component("data_loader", _MODELS)  # read once
    client = boto3.Session(botocore_session=core, profile_name=profile).client("s3")
    client.list_objects_v2(Bucket=bucket)


def main():
    """Until the input ends."""
    logging.disable()
    for line in sys.stdin:
        try:
            request(**json.loads(line))
            outcome = "done"
        except Exception as error:  # pylint: disable=broad-except
            outcome = f"{type(error).__name__}: {error}"
        print(json.dumps(outcome), flush=True)


if __name__ == "__main__":
    main()
