"""A window into runs: a page in the browser, served on this machine alone or written as one file."""
