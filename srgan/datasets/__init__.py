"""Published datasets: what is in them, whether they are whole, and how they differ."""
