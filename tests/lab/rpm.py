"""RPMs for the lab's hosts: built on one of them, cached by content, served from a file:// folder.

A host of the lab is a Debian with dnf beside it: dnf knows nothing of Debian's packages, so one
package of the repository says in their stead what is there.
"""

import hashlib
import shutil
from pathlib import Path

from tests.lab.cluster import Lab
from tests.lab.image import locked
from tests.lab.state import cache_dir

PROJECT = Path(__file__).parents[2]
REPOSITORY = "/srv/lab-repository"
REPO_FILE = f"""\
[lab]
name=The lab's packages
baseurl=file://{REPOSITORY}
enabled=1
gpgcheck=0
metadata_expire=0
"""
MONITOR = "hosted-engine-runbooks-ha"
BASE_SPEC = """\
Name: lab-base
Version: 1
Release: 1
Summary: What Debian's own packages provide on a host of the lab
License: Unspecified
BuildArch: noarch
Provides: /bin/sh, python3 = 3.11, python3-libvirt, python3-sanlock, sanlock, systemd
%description
Nothing but a list.
%files
"""
# A package that the hosts have beside ours. Its scriptlet fails on a host that is told to: rpm then
# leaves the old one in place and installs the rest of the transaction.
EXTRA_SPEC = """\
Name: lab-extra
Version: {version}
Release: 1
Summary: A package of the lab
License: Unspecified
BuildArch: noarch
%description
A file.
%install
mkdir -p %{{buildroot}}/usr/share/lab-extra
echo {version} > %{{buildroot}}/usr/share/lab-extra/version
%pre
test ! -e /etc/lab/fail-update
%files
/usr/share/lab-extra
"""
BUILD = """
set -eu
cd "$1"
if [ -n "$2" ]
then ha/host/rpm "$1/out" "$2"
else rpmbuild -bb --quiet --define "_topdir $1/work" --define "_rpmdir $1/out" package.spec
fi
mv out/noarch/*.rpm package.rpm
"""


def packages(lab: Lab, version: str) -> list[Path]:
    """Everything that the repository holds at that version."""
    return [
        _built(lab, "lab-base-1", _spec(BASE_SPEC)),
        _built(lab, f"lab-extra-{version}", _spec(EXTRA_SPEC.format(version=version))),
        _built(lab, f"{MONITOR}-{version}", _source(), version),
    ]


def offer(lab: Lab, host: str, rpms: list[Path]) -> None:
    """Make these the packages that dnf finds on the host."""
    root = lab.machine(host).root
    folder = root / REPOSITORY.lstrip("/")
    folder.mkdir(parents=True, exist_ok=True)
    for rpm in rpms:
        shutil.copy(rpm, folder)
    (root / "etc/yum.repos.d").mkdir(parents=True, exist_ok=True)
    (root / "etc/yum.repos.d/lab.repo").write_text(REPO_FILE)
    lab.ssh(host, "createrepo_c", "--quiet", "--update", REPOSITORY)


def _spec(text: str) -> dict[str, bytes]:
    return {"package.spec": text.encode()}


def _source() -> dict[str, bytes]:
    files = [PROJECT / "pyproject.toml"]
    files += [path for path in (PROJECT / "ha").rglob("*") if path.is_file()]
    kept = sorted(path for path in files if "__pycache__" not in path.parts)
    return {str(path.relative_to(PROJECT)): path.read_bytes() for path in kept}


def _built(lab: Lab, name: str, files: dict[str, bytes], version: str = "") -> Path:
    recipe = hashlib.sha256(repr((version, BUILD, sorted(files.items()))).encode()).hexdigest()
    built = cache_dir() / "rpms" / f"{name}-{recipe[:16]}.rpm"
    with locked(cache_dir() / "rpms.lock"):
        if not built.exists():
            built.parent.mkdir(exist_ok=True)
            for older in built.parent.glob(f"{name}-*.rpm"):
                older.unlink()
            draft = built.with_suffix(".part")
            shutil.copy(_build(lab, files, version), draft)
            draft.replace(built)
    return built


def _build(lab: Lab, files: dict[str, bytes], version: str) -> Path:
    host = lab.hosts[0].name
    work = "/var/tmp/rpm-build"
    folder = lab.machine(host).root / work.lstrip("/")
    shutil.rmtree(folder, ignore_errors=True)
    for name, data in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        if data.startswith(b"#!"):
            target.chmod(0o755)
    lab.ssh(host, "sh", "-c", BUILD, "sh", work, version)
    return folder / "package.rpm"
