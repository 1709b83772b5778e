"""`python -m cluster.faults.broker ...`: the gateway of `python -m cluster.gateway`, with less patience.

A board is given up after 5 s of silence in place of 60, and boards look and beat more often, so that a campaign of
minutes holds as many lost leases as days would. Everything else is the gateway's own.
"""

from __future__ import annotations

import sys

from cluster.gateway import __main__ as gateway
from cluster.gateway import leasing, mailroom

LOST_AFTER_S = 5.0
RESTART_GRACE_S = 3.0


def main() -> int:
    """Run the gateway; return the exit status."""
    leasing.LOST_AFTER_S, leasing.QUIET_MARGIN_S = LOST_AFTER_S, LOST_AFTER_S
    leasing.RESTART_GRACE_S, leasing.BACKOFF_LIMIT_S = RESTART_GRACE_S, 2.0
    mailroom.HEARTBEAT_S, mailroom.POLL_S = 1.0, 0.25
    return gateway.main()


if __name__ == "__main__":
    sys.exit(main())
