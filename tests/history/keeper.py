"""A process that stores a bundle, as `diag check --state` does without the rest.

python -m tests.history.keeper --state DIR -f BUNDLE [--keep N]
"""

from __future__ import annotations

import argparse
import sys
import time

from diag.bundle.reader import read_bundle
from diag.errors import DiagError
from diag.history.store import Store
from diag.model.history import Record, Retention


def main() -> int:
    """0 when the snapshot is stored, 2 when it is not."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--state", required=True)
    parser.add_argument("-f", "--from", dest="source", required=True)
    parser.add_argument("--keep", type=int, default=Retention().count)
    options = parser.parse_args()
    try:
        bundle = read_bundle(options.source)
        store = Store.open(options.state, create=True, clock=lambda: time.time())
        with store.lock():
            store.add(bundle, Record(bundle.host, bundle.captured_at), Retention(count=options.keep))
    except DiagError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
