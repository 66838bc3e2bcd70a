"""Text to typed dataflow graph."""
