"""What RadosGateway needs before anything runs: packages, ceph.conf, certificates, environment."""

import os
import shutil

# Buckets are BUCKET.s3.localhost: curl itself finds everything below localhost on loopback, and a
# certificate may not have a wildcard directly below the last name.
DOMAIN = "s3.localhost"

PACKAGE_OF_TOOL = {
    "ceph": "ceph-common",
    "ceph-mon": "ceph-mon",
    "ceph-osd": "ceph-osd",
    "monmaptool": "ceph-common",
    "openssl": "openssl",
    "radosgw": "radosgw",
    "radosgw-admin": "radosgw",
    "setpriv": "util-linux",
}

# crc modes: with no authentication the secure mode would hang the gateway for ever.
# paxos_*: a monitor of one has nobody to wait for; the defaults cost ten seconds of start.
# Short logs keep the OSD near 140 MB.
# The ratios: a memstore adds up what it holds without a lock. When nearly all of it has been removed on a busy machine, the sum
# may be below zero, which is read as a disk that is full thousands of times over: every write then waits for ever.
CONFIGURATION = """\
[global]
fsid = {fsid}
mon_host = v2:127.0.0.1:{mon_port}
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
run_dir = {directory}
admin_socket = {directory}/$name.asok
log_file = {directory}/$name.log
pid_file =
keyring = {directory}/keyring
mon_data = {directory}/mon
osd_data = {directory}/osd
crash_dir = {directory}
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
ms_mon_client_mode = crc
ms_mon_cluster_mode = crc
ms_mon_service_mode = crc
ms_bind_msgr1 = false
paxos_propose_interval = 0.05
paxos_min_wait = 0.02
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 10000
mon_osd_nearfull_ratio = 1e13
mon_osd_backfillfull_ratio = 1e13
mon_osd_full_ratio = 1e13
osd_failsafe_full_ratio = 1e13
mon_data_avail_warn = 1
mon_data_avail_crit = 1
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pgp_num = 4
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
osd_objectstore = {store}
memstore_device_bytes = {store_bytes}
bluestore_block_size = {store_bytes}
bluestore_block_create = true
osd_memory_target = 939524096
osd_client_watch_timeout = 3
osd_min_pg_log_entries = 10
osd_max_pg_log_entries = 20
rgw_frontends = {frontend}
rgw_dns_name = {domain}
rgw_thread_pool_size = 64
rgw_enable_usage_log = false
rgw_bucket_quota_ttl = 0
{extra}
"""


def missing_packages():
    """Debian packages of the tools that are not there."""
    return sorted({p for tool, p in PACKAGE_OF_TOOL.items() if not shutil.which(tool)})


def environment():
    """Ours without what would lead Ceph's tools to another cluster."""
    return {name: value for name, value in os.environ.items() if not name.startswith("CEPH_")}


def make_certificates(directory, run):
    """A CA of our own, and a server's key and certificate in one file, by openssl through `run`.
    The paths of both files."""
    ca_file, ca_key, key = directory / "ca.pem", directory / "ca.key", directory / "server.key"
    request, signed = directory / "server.csr", directory / "server.crt"
    names = directory / "names.cnf"
    names.write_text(
        f"subjectAltName = IP:127.0.0.1, DNS:localhost, DNS:{DOMAIN}, DNS:*.{DOMAIN}\n"
    )
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    run(
        "openssl", "req", "-x509", *new_key, "-keyout", ca_key, "-out", ca_file,
        "-subj", "/CN=nbdstack test CA", "-days", "30",
    )  # fmt: skip
    run("openssl", "req", *new_key, "-keyout", key, "-out", request, "-subj", "/CN=localhost")
    run(
        "openssl", "x509", "-req", "-in", request, "-CA", ca_file, "-CAkey", ca_key,
        "-CAcreateserial", "-days", "30", "-extfile", names, "-out", signed,
    )  # fmt: skip
    both = directory / "server.pem"
    both.write_text(key.read_text() + signed.read_text())
    return ca_file, both
