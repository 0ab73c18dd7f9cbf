"""``agentrl/Site-v0``: a forum and a shop's administration, a web application with a database, in real Chromium."""
