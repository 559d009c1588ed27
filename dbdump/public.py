"""The names that recipes and plugins import from dbdump."""

from .backends.base import Backend, StreamShape, option
from .backends.mysql import MySQL
from .backends.postgresql import PostgreSQL
from .backends.registry import backend
from .backends.sqlite import SQLite
from .errors import DbdumpError, DumpError, ListError, RecipeError, Skip
from .host import Host, localhost
from .recipes import Dump, Site, recipe
from .retention import Keep
from .wrappers.base import Wrapper
from .wrappers.compress import Gzip, Zstd
from .wrappers.gpg import GPG
from .writers.base import Sink, Writer
from .writers.directory import Directory
from .writers.remote import Remote

__all__ = [
    "GPG",
    "Backend",
    "DbdumpError",
    "Directory",
    "Dump",
    "DumpError",
    "Gzip",
    "Host",
    "Keep",
    "ListError",
    "MySQL",
    "PostgreSQL",
    "RecipeError",
    "Remote",
    "SQLite",
    "Sink",
    "Site",
    "Skip",
    "StreamShape",
    "Wrapper",
    "Writer",
    "Zstd",
    "backend",
    "localhost",
    "option",
    "recipe",
]
