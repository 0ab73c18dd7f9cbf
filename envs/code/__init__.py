"""Questions over generated data files, answered by running Python in a sandbox."""
