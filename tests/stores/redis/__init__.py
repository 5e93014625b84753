"""The store in Redis and Valkey, one server and a cluster."""
