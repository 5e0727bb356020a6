"""How bytes get here: uploads, through us or straight to the store, and the proof that ends them."""
