"""What holds for every input: property tests, one promise a test."""
