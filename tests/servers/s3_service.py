"""What all S3 services of the tests have: an address, keys, and a client of the tests' own."""

from support.s3_client import S3Client


class S3Service:
    """`endpoint` may be a proxy's."""

    region = "us-east-1"
    ca_file = None

    def __init__(self, endpoint, access_key, secret_key):
        self.endpoint, self.access_key, self.secret_key = endpoint, access_key, secret_key

    def client(self):
        """An S3Client for it."""
        return S3Client(
            self.endpoint, self.access_key, self.secret_key, self.region, self.ca_file
        )
