"""The formats of Xet, as functions over bytes: hashes, xorbs, shards and where a file is cut into chunks.

Knows nothing of databases, of stores or of HTTP. What reads bytes of strangers reads them bounded, and raises its own
subclass of ValueError, whose text is fit for the user who sent them. Where a format comes from, each module says.
"""
