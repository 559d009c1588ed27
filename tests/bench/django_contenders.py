"""django-dbbackup in a project that has nothing but it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from . import peers
from .compare import Bench
from .contenders import Contender

_SETTINGS = """\
import pymysql

pymysql.install_as_MySQLdb()  # django asks for it, django-dbbackup runs mysqldump
SECRET_KEY = "bench"
USE_TZ = True
INSTALLED_APPS = ["dbbackup"]
DATABASES = {databases!r}
DBBACKUP_CONNECTORS = {connectors!r}
_FILES = "django.core.files.storage.FileSystemStorage"
STORAGES = {{"default": {{"BACKEND": _FILES}}, "dbbackup": {{"BACKEND": _FILES, "OPTIONS": {{"location": {out!r}}}}},
             "staticfiles": {{"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}}}
"""


def dbbackup(
    bench: Bench, name: str, databases: Sequence[str], connection: Mapping[str, str], *flags: str,
    connector: Mapping[str, str] | None = None,
) -> Contender:  # fmt: skip
    """Return `django-admin dbbackup` of `databases`, and `connector` settings for each."""
    typed = " ".join(["django-admin dbbackup", *flags, *([f"; DBBACKUP_CONNECTORS {connector}"] if connector else [])])
    if missing := peers.missing("django-dbbackup"):
        return Contender(name, typed, (), peer=True, missing=missing)
    keys = dict(zip(["default", *databases[1:]], databases, strict=True))
    project = bench.top / "peers" / f"{name}-{len(databases)}-{databases[0]}".replace(" ", "_")
    project.mkdir(parents=True, exist_ok=True)
    (project / "settings.py").write_text(_SETTINGS.format(
        databases={key: {**connection, "NAME": database} for key, database in keys.items()},
        connectors={key: dict(connector) for key in keys} if connector else {},
        out=str(bench.out),
    ))  # fmt: skip
    argv = (str(peers.DJANGO / "bin" / "django-admin"), "dbbackup", "--noinput", *flags)
    its = {"DJANGO_SETTINGS_MODULE": "settings", "PYTHONPATH": str(project)}
    return Contender(name, typed, argv, environment=its, peer=True)
