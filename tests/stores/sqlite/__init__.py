"""Tests of the SQLite store. A package, as the folder above is."""
