"""What a bucket of MemoryS3 keeps of objects that are replaced or removed.

    s3.versions["disk"] = KeptVersions(s3.buckets["disk"])

From then on each put and removal gets a version id; with suspended=True the id "null", of which each
key has one. Not synchronized: the server's lock is held."""

import itertools
from dataclasses import dataclass
from xml.sax.saxutils import escape

NULL = "null"


@dataclass
class _Version:
    id: str
    stored: object  # a StoredObject; None: a delete marker


class KeptVersions:
    """`objects` is what the keys show, and is changed with the versions."""

    def __init__(self, objects, suspended=False):
        self.objects, self.suspended = objects, suspended
        self.history = {key: [_Version(NULL, stored)] for key, stored in objects.items()}
        self._numbers = itertools.count(1)

    def put(self, key, stored):
        """A new version of the object, or with None a marker; returns its id."""
        versions = self.history.setdefault(key, [])
        new = NULL if self.suspended else f"v{next(self._numbers):06}"
        versions[:] = [version for version in versions if version.id != new]
        versions.append(_Version(new, stored))
        self._show(key)
        return new

    def remove(self, key, version_id):
        """This version, for ever."""
        versions = self.history.get(key, [])
        versions[:] = [version for version in versions if version.id != version_id]
        self._show(key)

    def _show(self, key):
        versions = self.history[key]
        if versions and versions[-1].stored is not None:
            self.objects[key] = versions[-1].stored
        else:
            self.objects.pop(key, None)
        if not versions:
            del self.history[key]

    def listing(self, query, page):
        """A ListVersionsResult."""
        entries = [
            (key, version, version is self.history[key][-1])
            for key in sorted(self.history)
            if key.startswith(query.get("prefix", ""))
            for version in reversed(self.history[key])
        ]
        first, marker = 0, (query.get("key-marker"), query.get("version-id-marker"))
        for number, (key, version, _) in enumerate(entries):
            if key < (marker[0] or "") or (key, version.id) == marker:
                first = number + 1
        left = entries[first:]
        text = ["<ListVersionsResult>", *(_listed(*entry) for entry in left[:page])]
        if len(left) > page:
            key, version, _ = left[page - 1]
            text.append(
                f"<IsTruncated>true</IsTruncated><NextKeyMarker>{escape(key)}</NextKeyMarker>"
                f"<NextVersionIdMarker>{version.id}</NextVersionIdMarker>"
            )
        return "".join(text) + "</ListVersionsResult>"


def _listed(key, version, is_latest):
    kind = "DeleteMarker" if version.stored is None else "Version"
    return (
        f"<{kind}><Key>{escape(key)}</Key><VersionId>{version.id}</VersionId>"
        f"<IsLatest>{'true' if is_latest else 'false'}</IsLatest></{kind}>"
    )
