"""The package as users know it. In this repository its code is in the folders `app` and `responders`.

A wheel has `app` under this name, and `responders` in it, instead of this file: see docs/adr/0013-one-package.md.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app import __version__ as __version__
    from app import create_app as create_app

_ROOT = Path(__file__).parents[1]
_CODE = _ROOT / "app" / "__init__.py"

__path__[:] = [str(_CODE.parent), str(_ROOT)]
exec(compile(_CODE.read_bytes(), _CODE, "exec"))  # noqa: S102 - it is ours
