"""The benchmarks of docs/benchmarks.md: ratios against a peer or a limit, measured in the same run."""
