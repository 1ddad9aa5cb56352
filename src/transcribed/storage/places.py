"""Opening a store of recordings, of the kind that its location implies."""

from urllib.parse import unquote, urlsplit

from transcribed.storage.folder import FolderMediaStore
from transcribed.storage.media import MediaStore
from transcribed.storage.objects import ObjectMediaStore


def media_store(location: str) -> MediaStore:
    """Open the store in a folder or at an address such as s3://bucket/prefix. Raises ConfigurationError."""
    if location.startswith("file://"):
        return FolderMediaStore.at(unquote(urlsplit(location).path))
    if "://" in location:
        return ObjectMediaStore.at(location)
    return FolderMediaStore.at(location)
