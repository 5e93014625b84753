"""The two reference services: bff-consumer and bff-tenant-booking, small and complete. The tutorial goes through them.

They are for reading and for trying out, on one machine: `ghasi-handoff demo --serve` runs both.
"""
