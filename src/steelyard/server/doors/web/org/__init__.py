"""The pages of one organisation, but for the list of its models."""
