"""Speed and memory of the spine against baselines, as ratios in one run: ``python -m tests.bench``."""
