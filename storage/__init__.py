"""PostgreSQL: pools, named SQL, and one typed function per query."""
