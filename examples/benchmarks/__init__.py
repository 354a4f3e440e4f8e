"""The parts of ``examples/bench.py``: what each measures, and how."""
