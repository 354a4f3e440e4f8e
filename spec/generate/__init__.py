"""Makes the test vectors from the text of the specification: ``python -m spec.generate [--check]``.

What a vector expects is what the blocks of the specification compute, run in float32 or float64. A *bug* is an edit of
these blocks. For every flag of every test the generator runs the edited text, and stops unless the vector catches it.
"""
