"""Signing in, and the pages of whoever is: his tokens, sessions, identities; and the people of the instance."""
