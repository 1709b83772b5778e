"""The boards' gateway: an SSH server that boards pull leases from and hand results to, and the leases' bookkeeping."""
