"""The `ssh` command that leads a person to a host as this program gets there: by the same key, the
same known hosts and the same proxy.
"""

import shlex

from tasks.inventory import Host, Ssh


def ssh_command(host: Host, ssh: Ssh, *options: str) -> str:
    """Return the command up to the host's name, quoted for a shell."""
    argv = ["ssh", "-i", str(ssh.key_file), "-o", "IdentitiesOnly=yes"]
    argv += ["-o", f"UserKnownHostsFile={_quoted(str(ssh.known_hosts))}"]
    if ssh.proxy_command:
        # ssh gives it to a shell, after it has filled in what begins with % (ssh_config(5)).
        proxy = shlex.join(ssh.proxy_argv(host)).replace("%", "%%")
        argv += ["-o", f"ProxyCommand={proxy}"]
    if host.port != 22:  # noqa: PLR2004  (ssh's own)
        argv += ["-p", str(host.port)]
    return shlex.join([*argv, *options, f"{ssh.user}@{host.address}"])


def _quoted(path: str) -> str:
    """Return a path as ssh_config(5) takes one of several: quoted when it has blanks in it."""
    escaped = path.replace("%", "%%")
    return f'"{escaped}"' if " " in path else escaped
