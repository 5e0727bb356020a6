"""A registry whose database, store and limits are behind wires that break: what is answered, and what is left."""
