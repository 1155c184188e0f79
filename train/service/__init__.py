"""`selon serve`: labels over HTTP, and a page to read them; one idea a file."""
