"""Training: the settings, batches from data, one step, and `fit`, which runs all of them."""
