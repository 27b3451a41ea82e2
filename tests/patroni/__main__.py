"""Start a cluster, say how it is reached, and stop it at the end of input or at Ctrl-C.

python -m tests.patroni
"""

from __future__ import annotations

import sys
from contextlib import suppress

from tests.patroni.cluster import cluster, missing


def main() -> None:
    """Run a cluster until nobody needs it any more."""
    if problem := missing():
        sys.exit(problem)
    with cluster() as running:
        leader = running.leader()
        print(running.address())  # noqa: T201 - it is the answer
        print(f"the leader is {leader.name if leader else 'nobody yet'}; Ctrl-C ends all")  # noqa: T201
        sys.stdout.flush()
        with suppress(KeyboardInterrupt):
            sys.stdin.read()


if __name__ == "__main__":
    main()
