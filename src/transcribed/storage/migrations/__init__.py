"""The steps from an empty database to today's tables. They are run at start; see `migrate`."""
