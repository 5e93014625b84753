"""Benchmarks: ratios measured within one process, because absolute times depend on the machine and the hour."""
