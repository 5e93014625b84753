"""Replay stores, one module each. Importing this package imports none of them, and no driver."""
