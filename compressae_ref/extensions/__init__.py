"""Extensions of the specification: refined codes and packed codes."""
