"""The search under Ray Tune: a session that joins trials and boards, and the driver that runs it."""
