"""What all end-to-end tests share: starting nbdkit, the shadow disk, an S3 client, test data.

Import with the directory `tests` on sys.path, e.g. `PYTHONPATH=tests /usr/bin/python3 -m unittest`.
"""
