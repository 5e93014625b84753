"""Bridges to what other people wrote, a module each, with an extra each. Importing this package loads none of them."""
