"""The standard library's ``wsgiref.headers``, itself."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wsgiref.headers import *  # noqa: F403
else:
    from stdserve._originals import original

    sys.modules[__name__] = original("wsgiref.headers")
