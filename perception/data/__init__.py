"""Named data sets: find them, check them, read them."""
