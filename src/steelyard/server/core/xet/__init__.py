"""Files made of chunks: xorbs, shards, recipes, and whole files cut so that they are offered too."""
