"""Where versions come from, what was made from them, and with which they share bytes: as far as one may know."""
