"""What is done to `emogram` to see what it withstands: `python -m torture DOOR`, or `scripts/torture DOOR`.

One file a door, with `SUMMARY` and `run(*, long, seed) -> Verdict`, and a line in `DOORS` in `__main__.py`. A door in
its short form takes seconds and is what CI runs; `--long` is what docs/reliability.md tells the figures of. `verdict`
holds the record that all doors return, `watch` runs things in child processes that may hang, crash and eat memory.
"""
