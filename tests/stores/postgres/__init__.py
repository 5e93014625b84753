"""Tests of the PostgreSQL store. A package, as the folder above is."""
