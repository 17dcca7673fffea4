"""What is in the shop."""

from django.db import models


class Article(models.Model):
    """One thing for sale."""

    name = models.CharField(max_length=80)
    price = models.DecimalField(max_digits=8, decimal_places=2)

    class Meta:
        app_label = "shop"

    def __str__(self) -> str:
        return str(self.name)
