"""Containers decoded in processes of their own, so that a file that breaks FFmpeg costs itself alone."""
