"""Weight files: read without running anything, loaded strictly."""
