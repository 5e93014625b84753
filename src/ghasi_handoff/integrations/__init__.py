"""The library in other people's frameworks, a module each. Importing this package imports none of them."""
