"""What several figures and the report conclude from the results in the same way."""
