"""Exercises of `examples/learn`, graded against the test vectors.

`table` lists the exercises, and `from_vectors` makes their tests. `student` starts `process`, which runs a student's
file and names what it has `returned`. `grade` judges it, `mistakes` explains it, and `report` words the result.
"""
