"""What the recommenders are worth on public data and on the demo; `python -m benchmarks.recommenders` runs all of it."""
