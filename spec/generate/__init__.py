"""Generate the test vectors from the specification: ``python -m spec.generate [--check]``.

The expected outputs are computed by the code blocks of the specification, run in float32 or float64. A *bug* is an edit
of these blocks. For each flag of each test the generator runs the edited blocks, and stops if the test does not fail.
"""
