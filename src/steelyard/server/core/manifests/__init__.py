"""Models as container tools know them: repositories of manifests, tags, and bytes named by digest (OCI)."""
