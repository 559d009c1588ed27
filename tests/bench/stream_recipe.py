"""A backend and its recipe, as others write them: streams of any size, from no server."""

from dbdump import Backend, Dump, Host, backend, localhost, option, recipe

_BLOCK = 1 << 20  # bytes; as much at once as dbdump reads


@backend("stream")
class Stream(Backend):
    """Streams of zeros."""

    streams: int = option(default=1, help="how many")
    size: int = option(default=_BLOCK, help="bytes of each")

    def get_db_list(self) -> list[str]:
        """Return a name for each."""
        return [f"stream_{number:04}" for number in range(self.streams)]

    def get_command(self, database: str) -> list[str]:  # noqa: ARG002  they are all alike
        """Return the argv that writes it."""
        return ["dd", "if=/dev/zero", f"bs={_BLOCK}", f"count={self.size}", "iflag=count_bytes", "status=none"]


@recipe(localhost)
def stream(_host: Host) -> Dump:
    """Streams of zeros, stored as they come: every byte goes through dbdump."""
    return Dump(Stream(), wrap=[])
