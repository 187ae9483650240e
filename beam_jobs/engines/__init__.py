"""What the runners need beyond Beam's own: one module for each engine, and what they share."""
