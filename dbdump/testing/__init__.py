"""Contract suites for those who write backends, wrappers or writers: subclass one in a test file for pytest.

class TestRedis(BackendContract):
    def make(self):
        return Redis()
"""

from .backend import BackendContract
from .dumps import ODD_NAMES, dump_name, manifest_of, refused, store
from .wrapper import WrapperContract
from .writer import WriterContract

__all__ = [
    "ODD_NAMES",
    "BackendContract",
    "WrapperContract",
    "WriterContract",
    "dump_name",
    "manifest_of",
    "refused",
    "store",
]
