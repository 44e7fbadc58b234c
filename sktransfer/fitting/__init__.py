"""One fit: from checked rows to a fitted network, and from texts to its scores."""
