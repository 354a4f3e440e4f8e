"""Extensions of the specification: refined codes, fitted codes and packed codes."""
