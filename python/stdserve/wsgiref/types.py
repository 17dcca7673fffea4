"""The standard library's ``wsgiref.types``, itself."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wsgiref.types import *  # noqa: F403
else:
    from stdserve._originals import original

    sys.modules[__name__] = original("wsgiref.types")
