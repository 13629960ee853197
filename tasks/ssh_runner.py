"""How a command runs over SSH: its input, and how its output is read; with tasks.shell the only
importer of Fabric.

invoke reads 1000 bytes at a time, and for each of these pieces joins all that came before, to look
for prompts that it could answer: a whiteboard of garbage (11 MB as base64) took minutes. And it
feeds an input from a thread of its own, which fails when the remote does not read it.
"""

from typing import Any

from fabric import Connection
from fabric.runners import Remote

READ_BYTES = 65_536
# What sshd takes before anybody has read any of it is 2 MiB (OpenSSH, CHAN_SES_WINDOW_DEFAULT).
STDIN_BYTES_MAX = 65_536


class WholeOutput(Remote):  # type: ignore[misc]
    """Gives little data as input, reads in large pieces, and answers no prompts.

    The data goes through the session's own channel, so it is in no argument of any process. Without
    data the command must have an input of its own, or it would wait for the open channel.
    """

    read_chunk_size = READ_BYTES

    def __init__(self, connection: Connection, data: bytes | None, within_seconds: float) -> None:
        """Take the data, at most 64 KiB, and how long sshd may take to accept it.

        Raises ValueError when it is too much.
        """
        if data is not None and len(data) > STDIN_BYTES_MAX:
            raise ValueError(f"stdin is limited to {STDIN_BYTES_MAX} bytes, got {len(data)}")
        super().__init__(connection, inline_env=True)
        self._data = data
        self._within_seconds = within_seconds

    def start(self, *args: Any, **kwargs: Any) -> None:
        """Start the command and give it its input. Raises TimeoutError."""
        super().start(*args, **kwargs)
        if self._data is None:
            return
        self.channel.settimeout(self._within_seconds)
        try:
            self.channel.sendall(self._data)
            self.channel.shutdown_write()
        except OSError as error:
            # A command that ended without reading it all has an exit code, and that one counts; a
            # lost connection has none, which is seen when it is asked for.
            if isinstance(error, TimeoutError) or not self.channel.closed:
                raise
        self.channel.settimeout(None)

    def respond(self, buffer_: list[str]) -> None:
        """Answer nothing."""
