"""What compression costs on some data: recall beside bytes, for codes and for other ways of storing vectors."""
