"""Measurements that are printed in docs/: `python -m benchmarks NAME ...`, from the root of the project.

One file a benchmark, with `SUMMARY`, `add_arguments(parser)` and `run(arguments) -> Table`, and a line in `BENCHMARKS`
in `__main__.py`.
"""
