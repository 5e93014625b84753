"""Property tests: promises that hold for every input, one in each test."""
