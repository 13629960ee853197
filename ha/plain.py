"""Text that comes from elsewhere, made fit for a line of a log or of the whiteboard."""


def one_line(text: str, most_bytes: int | None = None) -> str:
    """Return the text without control characters and line ends; cut it to so many bytes of UTF-8.

    A peer's name comes from the whiteboard, where anything may stand.
    """
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    plain = " ".join(text.split())
    encoded = plain.encode()
    if most_bytes is None or len(encoded) <= most_bytes:
        return plain
    return encoded[: max(0, most_bytes - 3)].decode("utf-8", "ignore") + "..."
