"""Our own parts pass the suites that we ship."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from dbdump import GPG, Directory, Gzip, PostgreSQL, SQLite, Zstd
from dbdump.testing import BackendContract, WrapperContract, WriterContract


class TestSQLite(BackendContract):
    """SQLite, with one database."""

    @pytest.fixture(autouse=True)
    def _database(self, tmp_path_factory):
        self.path = tmp_path_factory.mktemp("sqlite") / "app.db"
        with closing(sqlite3.connect(self.path)) as database:
            database.executescript("CREATE TABLE t (a); INSERT INTO t VALUES (1);")

    def make(self):
        return SQLite(path=str(self.path))


class TestSQLiteSQL(TestSQLite):
    """SQLite as SQL."""

    def make(self):
        return SQLite(path=str(self.path), format="sql")


class TestPostgreSQL(BackendContract):
    """PostgreSQL in its custom format."""

    @pytest.fixture(autouse=True)
    def _server(self, postgres):
        self.server = postgres

    def make(self):
        return PostgreSQL(host=self.server.host, user="postgres")


class TestPostgreSQLPlain(TestPostgreSQL):
    """PostgreSQL as plain SQL."""

    def make(self):
        return PostgreSQL(host=self.server.host, user="postgres", format="plain")


class TestZstd(WrapperContract):
    """zstd."""

    def make(self):
        return Zstd()


class TestGzip(WrapperContract):
    """gzip."""

    def make(self):
        return Gzip()


class TestPigz(WrapperContract):
    """gzip, where there is a pigz."""

    def make(self):
        return Gzip(program="pigz")


class TestGPG(WrapperContract):
    """GnuPG, signing and encrypting for two."""

    @pytest.fixture(autouse=True)
    def _home(self, gnupg, monkeypatch):
        monkeypatch.setenv("GNUPGHOME", str(gnupg.home))

    def make(self):
        return GPG(sign="signer@example.org", encrypt=["ops@example.org", "rsa@example.org"])


class TestDirectory(WriterContract):
    """A directory on this machine."""

    def make(self, directory: Path):
        return Directory(str(directory))
