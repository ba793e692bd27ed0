"""The cache against a real server."""
