"""Measurements that are printed in docs/ and in RESULTS.md: `python -m benchmarks NAME`, from the root of the project.

One file a benchmark, with `SUMMARY`, `add_arguments(parser)` and `run(arguments) -> Table`, and a line in `BENCHMARKS`
in `__main__.py`; if it wants, with `ROUNDS` (paired runs by default) and `PACKAGES` (whose versions are told). `paired`
runs two sides by turns, `processes` runs whole commands, `peers` makes environments for peers, `growth` draws how cost
grows, and `corpus` gives sound.
"""
