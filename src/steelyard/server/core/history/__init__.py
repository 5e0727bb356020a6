"""The Hub's view of a model: commits, what names lead to, drafts that become versions."""
