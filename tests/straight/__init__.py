"""Bytes that go straight between clients and a real S3 store, past a real server."""
