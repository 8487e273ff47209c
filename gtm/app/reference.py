"""The reference deployment: the one at the top of the repository, or the copy inside an installed package."""

from __future__ import annotations

from pathlib import Path

import gtm

_PACKAGE = Path(gtm.__file__).resolve().parent


def reference_folder() -> Path | None:
    """Its folder, or None where gtm was installed without it."""
    for folder in (_PACKAGE.parent, _PACKAGE / "reference"):
        if (folder / "gtm.yaml").is_file() and (folder / "zones").is_dir():
            return folder
    return None


def installed(folder: Path) -> bool:
    """Whether a folder belongs to the installed package, so that nothing may be written into it."""
    return folder.is_relative_to(_PACKAGE)
