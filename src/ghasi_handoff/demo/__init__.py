"""The two reference services: small, and complete. See the tutorial."""
