"""The pictures of the chapters, so that the chapters show the code of the lesson alone."""
