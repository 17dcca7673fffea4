"""The standard library's ``wsgiref.util``, itself."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wsgiref.util import *  # noqa: F403
else:
    from stdserve._originals import original

    sys.modules[__name__] = original("wsgiref.util")
