"""Debian's Prometheus, scraping one target each second.

    with Prometheus("127.0.0.1:9180") as prometheus:
        prometheus.query('sum by (op) (nbdstack_requests_total)')    # {(("op", "read"),): 27.0}
"""

import json
import urllib.error
import urllib.parse
import urllib.request

from servers.daemons import Daemons, StartedWhole
from support import data


class Prometheus(StartedWhole):
    """`target` is HOST:PORT, of which /metrics is scraped."""

    def __init__(self, target):
        self._target = target
        self._port = data.free_port()
        self._daemons = Daemons({"prometheus": "prometheus"})

    def start_all(self):
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
            "scrape_configs": [
                {"job_name": "nbdstack", "static_configs": [{"targets": [self._target]}]}
            ],
        }
        path = self._daemons.directory / "prometheus.yml"
        path.write_text(json.dumps(config))  # which is YAML
        self._daemons.spawn(
            "prometheus", "prometheus", f"--config.file={path}",
            f"--storage.tsdb.path={self._daemons.directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{self._port}", "--log.level=warn",
        )  # fmt: skip
        self._daemons.wait_for("prometheus", self._is_ready)

    def _is_ready(self):
        try:
            with urllib.request.urlopen(self._url("/-/ready"), timeout=10) as answer:
                return answer.status == 200
        except OSError:
            return False

    def _url(self, path):
        return f"http://127.0.0.1:{self._port}{path}"

    def _get(self, path, **parameters):
        url = self._url(path) + "?" + urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise ValueError(f"{path} {parameters}: {error.read().decode()}") from None

    def query(self, expression):
        """The present value of each series: labels, sorted, without the name -> value."""
        return {
            tuple(sorted((k, v) for k, v in each["metric"].items() if k != "__name__")): float(
                each["value"][1]
            )
            for each in self._get("/api/v1/query", query=expression)["result"]
        }

    def fault(self):
        """What is wrong with the last scrape of the target; an empty string if nothing, None if
        there was none yet."""
        target = self._get("/api/v1/targets")["activeTargets"][0]
        return None if target["health"] == "unknown" else target["lastError"]

    def stop(self):
        self._daemons.stop()
