"""The conformance kit: this library's stores keep every promise, and each planted mutant is caught."""
