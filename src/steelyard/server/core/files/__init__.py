"""A version's files: which there are, their bytes, one archive of them, what their headers and cards say."""
