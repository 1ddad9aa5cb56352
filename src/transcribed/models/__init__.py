"""Models that can be pulled: which there are, fetching them, and the folder that holds them."""
