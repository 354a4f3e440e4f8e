"""Is somebody's implementation right? Vectors, a protocol to ask any program, and the audit of codes from elsewhere.

`operations` says what can be asked, `vectors` reads the questions, `programs` asks, `judge` decides, `report` tells;
`own` answers for this package. `audit` needs no questions: it looks at a model, embeddings and the codes (`foreign`)
that some other system made of them; `diagnose` and `mistakes` say what is wrong.
"""
