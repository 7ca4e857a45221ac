"""The rich indexer: the chain's cells and transactions in SQL tables, for searches by part of a script and for SQL
users. Needs the extra `rich-indexer` (SQLAlchemy), on PostgreSQL also `postgres`; nothing else imports this package."""
