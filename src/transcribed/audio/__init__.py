"""Conversion of audio in any format to Samples."""
