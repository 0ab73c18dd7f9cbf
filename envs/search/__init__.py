"""Questions over a generated library that take several documents to answer."""
