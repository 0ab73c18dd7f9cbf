"""An office in a database: mail, calendar, files, contacts and a shop, and a user who wants something done there."""
