"""Reading what a stack writes with metrics=DIRECTORY."""

import pathlib
import re

_LINE = re.compile(r'^([a-z_0-9]+)(?:\{(.*)\})? (\S+)$')
_LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


class Snapshot:
    """All series of a text in Prometheus' format."""

    def __init__(self, text):
        self.series = {}  # (name, ((label, value), ...) sorted) -> number
        for line in text.splitlines():
            if line.startswith("#") or not line:
                continue
            name, labels, value = _LINE.match(line).groups()
            key = (name, tuple(sorted(_LABEL.findall(labels or ""))))
            if key in self.series:
                raise ValueError(f"a series comes twice: {line}")
            self.series[key] = float(value)

    def values(self, name, **labels):
        """The numbers of the series of this name that have all these labels."""
        wanted = set(labels.items())
        return [v for (n, of), v in self.series.items() if n == name and wanted <= set(of)]

    def sum(self, name, **labels):
        """Their sum; 0 where there are none."""
        return sum(self.values(name, **labels))


def layers(directory):
    """layer -> Snapshot, of the files in a stack's directory."""
    return {path.stem: Snapshot(path.read_text()) for path in pathlib.Path(directory).glob("*.prom")}
