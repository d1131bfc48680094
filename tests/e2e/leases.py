"""The lease of a volume, as its tests look at it."""

import json

LEASE_TIME = "5s"  # the shortest there is
LEASE_S = 5
# How old a lease must be before somebody else takes it, and then the next look at it.
EXPIRY_S = LEASE_S * 7 / 6 + 2
_OBJECT = "nbdstack-lease.json"


def lease_record(store, key=""):
    """What the lease's object says, as a dictionary; None where there is none."""
    name = f"{key}/{_OBJECT}" if key else _OBJECT
    if name not in store.keys():
        return None
    # A file has a trailer behind the text.
    return json.JSONDecoder().raw_decode(store.body(name).decode(errors="replace"))[0]
