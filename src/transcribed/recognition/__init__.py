"""The algorithms of recognition: pure, without I/O, threads or clock."""
