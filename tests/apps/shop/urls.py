"""The admin."""

from django.contrib import admin
from django.urls import path

from shop.models import Article

admin.site.register(Article)
urlpatterns = [path("admin/", admin.site.urls)]
