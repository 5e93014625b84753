"""Replay stores: one contract for all of them, then what each promises beyond it, with real files, threads and processes."""
