"""Conformance tests of implementations: test vectors, a protocol that programs answer, and an audit of stored codes.

`operations` lists the operations, `vectors` reads the tests, `programs` sends requests, `judge` decides, and `report`
summarises. `self_test` and `reference_answers` answer for this package. `audit` needs no vectors: it compares codes
of another system (`external_codes`) with the codes of its model and embeddings, in the form that `code_forms`
recognises. `audit_rows` and `audit_refined` classify rows; `diagnose` and `mistakes` explain differences.
The room `exercises` grades the functions of students.
"""
