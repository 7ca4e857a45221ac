"""The transaction pool: what waits to be proposed and committed."""
