"""What is written about metrics names those of common/metrics/metric.hpp, and all of them."""

import json
import re
import subprocess
import tempfile
import unittest

from support.nbdkit import ROOT


def known_metrics():
    """The names in the one file that has them."""
    text = (ROOT / "common/metrics/metric.hpp").read_text()
    return re.findall(r'^inline constexpr Metric \w+\{"(\w+)"', text, re.M)


class MetricsDocuments(unittest.TestCase):
    def test_names_differ(self):
        """No name stands for two metrics."""
        names = known_metrics()
        self.assertGreater(len(names), 10)
        self.assertEqual(len(names), len(set(names)))

    def test_the_page_explains_each(self):
        """nbdstack-metrics(1) has an item for each metric, and for no other, once."""
        text = (ROOT / "man/nbdstack-metrics.pod").read_text()
        items = re.findall(r"^=item B<(nbdstack_\w+)>", text, re.M)
        self.assertEqual(sorted(items), sorted(known_metrics()))

    def test_the_page_uses_no_other(self):
        """Its queries, too, are of metrics that are there."""
        text = (ROOT / "man/nbdstack-metrics.pod").read_text()
        self.assertEqual(set(re.findall(r"\bnbdstack_\w+", text)) - set(known_metrics()), set())

    def test_the_dashboard_shows_what_is_there(self):
        """Each query of Grafana's is of metrics that are there, and no panel lies on another."""
        dashboard = json.loads((ROOT / "docs/grafana-dashboard.json").read_text())
        places = set()
        names = set()
        for panel in dashboard["panels"]:
            place = panel["gridPos"]
            cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                     for y in range(place["y"], place["y"] + place["h"])}  # fmt: skip
            self.assertFalse(places & cells, panel["title"])
            places |= cells
            for target in panel["targets"]:
                found = re.findall(r"\bnbdstack_\w+", target["expr"])
                self.assertTrue(found, panel["title"])
                names |= {name.removesuffix("_bucket") for name in found}
        self.assertEqual(names - set(known_metrics()), set())
        self.assertGreater(len(names), 15)

    def test_the_dashboard_is_what_prometheus_understands(self):
        """promtool parses each of its queries, as the rule of an alert."""
        dashboard = json.loads((ROOT / "docs/grafana-dashboard.json").read_text())
        queries = [
            re.sub(r"\$__rate_interval", "5m", target["expr"])
            for panel in dashboard["panels"]
            for target in panel["targets"]
        ]
        rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries)]
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
            json.dump({"groups": [{"name": "dashboard", "rules": rules}]}, file)
            file.flush()
            done = subprocess.run(
                ["promtool", "check", "rules", file.name], capture_output=True, text=True,
                timeout=60, check=False,
            )  # fmt: skip
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
