"""What is wanted, and the key of everything that is made for it."""
