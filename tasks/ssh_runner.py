"""How the output of a command over SSH is read; the only importer of Fabric beside tasks.shell.

invoke reads 1000 bytes at a time, and for each of these pieces joins all that came before, to look
for prompts that it could answer: a whiteboard of garbage (11 MB as base64) took minutes.
"""

from fabric.runners import Remote

READ_BYTES = 65_536


class WholeOutput(Remote):  # type: ignore[misc]
    """Reads in large pieces, and answers no prompts: nothing is ever typed to a host."""

    read_chunk_size = READ_BYTES

    def respond(self, buffer_: list[str]) -> None:
        """Answer nothing."""


OVERRIDES = {"load_ssh_configs": False, "runners": {"remote": WholeOutput}}
