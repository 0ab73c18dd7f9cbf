"""Small repositories with a mistake in them, found by their tests and mended by an edit."""
