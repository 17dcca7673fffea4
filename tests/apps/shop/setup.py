"""Run as a program: makes the tables and a user `admin` with the password `secret`."""

import os

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"
django.setup()

from django.contrib.auth import get_user_model  # noqa: E402
from django.core.management import call_command  # noqa: E402

call_command("migrate", run_syncdb=True, verbosity=0)
get_user_model().objects.create_superuser("admin", "admin@example.com", "secret")
