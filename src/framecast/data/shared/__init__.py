"""What several datasets do in the same way."""
