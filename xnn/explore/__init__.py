"""A look at the data: duplicates, likely label errors, embedding, FiftyOne."""
