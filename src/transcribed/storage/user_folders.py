"""Where the files of one user are, unless a setting names another place."""

from pathlib import Path

import platformdirs


def in_data_folder(name: str) -> Path:
    """The path of a file or folder in the user's data folder; without a home folder, in the current one."""
    try:
        return platformdirs.user_data_path("transcribed") / name
    except RuntimeError:  # No home folder. In a shared folder another user could create the file first.
        return Path(name)
