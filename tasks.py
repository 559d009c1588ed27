"""The invoke namespace: the operator's tasks, and `dev` for those who work on dbdump itself."""

from invoke import Collection

from dbdump.tasks import backends, dump, recipes

ns = Collection(dump, recipes, backends)
