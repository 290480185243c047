"""What the pages on methods (methods/) count, draw at random and train."""
