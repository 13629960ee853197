"""`--get-shared-config` and `--set-shared-config`: one key of the configuration, read or written.

A value is written only if the file can still be used with it. The archive on the storage is
replaced only if nobody else has changed it since it was read; the old one is kept on this host.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ha.cli.host import Host, Refused
from ha.cli.maintenance import enter_local
from ha.cli.proof import keep
from ha.conf_archive import ARCHIVE_BYTES, CHANGED, read_raw, unpack, update_archive
from ha.config import ConfigError
from ha.config_text import read_text
from ha.local_maintenance import (
    FLAGS,
    flag_of,
    load_local_maintenance,
    save_local_maintenance,
)
from ha.shared_config import READ_ONLY, SHARED, TYPES, check, edited, keys_of, named
from ha.storage_domain import StorageError
from ha.vm_conf import VmConfError
from ha.whole_file import write_whole

NOT_SET = "The configuration was not changed."
# hosted-engine.conf is read by shells as well, so a value must be one plain word.
_PLAIN = re.compile(r"[A-Za-z0-9_.:/,@%+=\[\]-]+")
_EFFECT = {
    "he_local": "Broker and agent of this host take it when they are restarted",
    "he_shared": "Hosts that are deployed from now on take it; the others keep what they have",
    "broker": "The agent of each host fetches it within a turn; its broker takes it when it is"
    " restarted: systemctl restart ovirt-ha-broker",
    "ha": "The agent of this host takes it within a turn",
}


@dataclass(frozen=True, slots=True)
class _Source:
    """The text of one type, what to call the file in an error, the archive that it is from."""

    kind: str
    label: Path
    text: str
    archive: bytes = b""

    def keys(self) -> Mapping[str, str | None]:
        """Its keys. Raises ConfigError, VmConfError."""
        return keys_of(self.kind, self.label, self.text)


def get_shared_config(host: Host, options: Mapping[str, str]) -> None:
    """Print the value of a key, as it is on the storage or in this host's own file."""
    asked = options.get("key")
    if not asked:
        raise Refused("You must specify a key to get")
    source, key = _find(host, asked, options.get("type"))
    host.say(f"\n{asked} : {source.keys()[key]}, type : {source.kind}\n")


def set_shared_config(host: Host, options: Mapping[str, str]) -> None:
    """Write the value of a key; exit code 0 means that it was read back."""
    asked, value = options.get("key"), options.get("value")
    if not asked:
        raise Refused("You must specify a key to set")
    if not value:
        raise Refused("You must specify a new value to set")
    source, key = _find(host, asked, options.get("type"))
    if source.kind == READ_ONLY:
        raise Refused(
            f"Configuration type {READ_ONLY} cannot be updated: the engine VM is configured in the"
            " engine"
        )
    if source.kind == "ha":
        value = _as_flag(source, key, value)
    if source.keys()[key] == value:
        host.say(f"{asked} is {value} already, type : {source.kind}")
        return
    _require_usable(source, key, value)
    try:
        if source.kind == "ha":
            _set_flag(host, key, on=value == "True")
        else:
            _write(host, source, edited(source.kind, source.text, key, value))
        now, _ = _find(host, key, source.kind)
    except (ConfigError, StorageError, OSError) as error:
        raise Refused(f"{NOT_SET} {error}") from error
    if now.keys()[key] != value:
        raise Refused(f"{asked} reads back as {now.keys()[key]}: somebody else has written it")
    host.say(f"{asked} is {value}, type : {source.kind}\n{_EFFECT[source.kind]}")


def _as_flag(source: _Source, key: str, value: str) -> str:
    if key not in FLAGS:
        raise Refused(f"{NOT_SET} {key} is none of {', '.join(FLAGS)}")
    try:
        return str(flag_of(source.label, key, value))
    except ConfigError as error:
        raise Refused(f"{NOT_SET} {error}") from error


def _set_flag(host: Host, key: str, *, on: bool) -> None:
    """Set one flag of ha.conf, under the lock of its writers. Raises ConfigError, OSError."""
    flags = replace(load_local_maintenance(host.paths), **{FLAGS[key]: on})
    if on:
        enter_local(host, flags)
    else:
        save_local_maintenance(host.paths, flags)


def _write(host: Host, source: _Source, text: str) -> None:
    """Write a file, or the archive that it is in, and keep what was there. Raises as below."""
    if source.kind not in SHARED:
        if read_text(source.label) != source.text:
            raise StorageError(CHANGED)
        keep(host, source.label.name, source.text.encode())
        write_whole(source.label, text)
        return
    volume = _volume(host)
    files = {**unpack(source.archive), SHARED[source.kind]: text}

    def keep_old(archive: bytes) -> None:
        backup = keep(host, "shared-config", archive)
        command = f"dd if={backup} of={volume} bs={ARCHIVE_BYTES} count=1 conv=notrunc,fsync"
        host.say(f"Way back: {command}")

    update_archive(volume, source.archive, files, keep=keep_old)


def _find(host: Host, asked: str, kind: str | None) -> tuple[_Source, str]:
    """Return the one type that has this key, and the key's full name. Raises Refused."""
    if kind is not None and kind not in (*TYPES, READ_ONLY):
        raise Refused(f"Invalid configuration type {kind}, supported types are: {list(TYPES)}")
    wanted = (kind,) if kind else (*TYPES, READ_ONLY)
    try:
        sources = [(source, source.keys()) for source in _sources(host, wanted)]
    except (ConfigError, StorageError, VmConfError) as error:
        hint = "" if kind else "\nA type names one file: --type=he_local and --type=ha are local"
        raise Refused(f"{error}{hint}") from error
    found = [
        (source, full) for source, keys in sources if (full := named(source.kind, keys, asked))
    ]
    if len(found) > 1:
        raise Refused(
            f"Duplicate key {asked}, please specify the key type. Available types are:"
            f" {[source.kind for source, _ in found]}"
        )
    if not found:
        known = [f"{source.kind} : {sorted(keys)}" for source, keys in sources]
        lines = [f"Invalid configuration key {asked}.", "Available keys are:", *known]
        raise Refused("\n".join(lines))
    return found[0]


def _sources(host: Host, kinds: Iterable[str]) -> list[_Source]:
    """Read the files of these types. Raises ConfigError, StorageError."""
    wanted = list(kinds)
    local = {"he_local": host.paths.hosted_engine_conf, "ha": host.paths.ha_conf}
    archive, files = b"", {}
    if SHARED.keys() & set(wanted):
        archive = read_raw(_volume(host))
        files = dict(unpack(archive))
    sources = []
    for kind in wanted:
        if kind in local:
            path = local[kind]
            text = read_text(path) if path.exists() else ""
            sources.append(_Source(kind, path, text))
        else:
            label = Path(f"the shared {SHARED[kind]}")
            sources.append(_Source(kind, label, files[SHARED[kind]], archive))
    return sources


def _volume(host: Host) -> Path:
    domain = host.domain()
    volume = domain.prepared(domain.configuration)
    if not volume.exists():
        raise StorageError(f"{volume} is not there: run hosted-engine --connect-storage first")
    return volume


def _require_usable(source: _Source, key: str, value: str) -> None:
    """Refuse a value with which the file could not be read, or would be read otherwise."""
    if not value.isprintable() or value != value.strip() or value.startswith('"'):
        raise Refused(f"{NOT_SET} {value!r} cannot be written in one line as it is")
    if source.kind in ("he_local", "he_shared") and not _PLAIN.fullmatch(value):
        raise Refused(
            f"{NOT_SET} {value!r}: shells read {SHARED['he_shared']}, so blanks, quotes and shell"
            " characters cannot be used"
        )
    text = edited(source.kind, source.text, key, value)
    try:
        check(source.kind, source.label, text)
    except ConfigError as error:
        if error.key == key.rpartition(".")[2] or _is_usable(source):
            raise Refused(f"{NOT_SET} {error}") from error


def _is_usable(source: _Source) -> bool:
    try:
        check(source.kind, source.label, source.text)
    except ConfigError:
        return False
    return True
