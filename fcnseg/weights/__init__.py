"""Weight files: fetched once and verified, read without running anything, loaded strictly."""
