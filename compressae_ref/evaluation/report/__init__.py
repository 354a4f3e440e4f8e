"""The report about a model on the user's data: what it costs, what its latents mean, and how searches change."""
