"""Speech to text in a terminal, recognised in this process."""
