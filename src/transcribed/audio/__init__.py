"""Bytes in any format to Samples."""
