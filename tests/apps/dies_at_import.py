"""The process ends while it imports, as by a crash in an extension."""

import os

os._exit(7)
