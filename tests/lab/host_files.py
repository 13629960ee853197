"""What the host image holds beside Debian's packages: configuration, file by file."""

MASKED_UNITS = (
    *("getty@tty1.service", "console-getty.service", "systemd-udevd.service"),
    *("systemd-udevd-control.socket", "systemd-udevd-kernel.socket", "systemd-pstore.service"),
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "fstrim.timer"),
    *("e2scrub_all.timer", "e2scrub_reap.service", "logrotate.timer"),
    *("systemd-networkd-wait-online.service", "libvirt-guests.service"),
    # there is no watchdog device to multiplex; sanlock is told below to do without
    "wdmd.service",
)

SSHD = """\
PermitRootLogin prohibit-password
PasswordAuthentication no
UseDNS no
UsePAM no
MaxStartups 100:30:200
"""

# All hosts share this machine's processors: libvirt's keepalive of 30 seconds, by which a migration
# is given up, takes a busy host for a dead one.
# QEMU as root without confinement: the host is a container that holds nothing else. The lock
# manager is what is under test: libvirt takes the engine VM's <lease> from sanlock.
QEMU = """\
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
namespaces = [ ]
cgroup_controllers = [ ]
lock_manager = "sanlock"
vnc_listen = "0.0.0.0"
keepalive_count = 60
"""

QEMU_SANLOCK = """\
auto_disk_leases = 0
require_lease_for_disks = 0
"""

LIBVIRTD = """\
auth_unix_rw = "none"
listen_tls = 0
auth_tcp = "none"
"""

# sanlock does not end while it holds a lockspace, and its unit forbids killing it: a reboot waits
# for systemd's default of 90 seconds twice, until the watchdog, which the lab has not, ends it.
# LAB_SANLOCK_SPEED comes from a file of the host, as it is chosen when the lab comes up.
SANLOCK_UNIT = """\
[Service]
Environment=LD_PRELOAD=/usr/lib/lab/rlimit.so
EnvironmentFile=-/etc/lab/sanlock.env
TimeoutStopSec=5
SendSIGKILL=yes
"""

LIBVIRTD_UNIT = """\
[Service]
Environment=LIBVIRTD_ARGS=
"""

# Only a host on block storage has the script.
DEVICES_UNIT = """\
[Unit]
Description=Device nodes of the lab's shared block storage
ConditionFileNotEmpty=/etc/lab/devices
DefaultDependencies=no
Before=sysinit.target sanlock.service libvirtd.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -eu /etc/lab/devices

[Install]
WantedBy=sysinit.target
"""

LINKS = {
    "etc/systemd/system/sockets.target.wants/libvirtd-tcp.socket": (
        "/lib/systemd/system/libvirtd-tcp.socket"
    ),
    "etc/systemd/system/sysinit.target.wants/lab-devices.service": (
        "/etc/systemd/system/lab-devices.service"
    ),
}

FILES = {
    "etc/systemd/system/lab-devices.service": DEVICES_UNIT,
    "etc/ssh/sshd_config.d/lab.conf": SSHD,
    "etc/libvirt/qemu.conf": QEMU,
    "etc/libvirt/qemu-sanlock.conf": QEMU_SANLOCK,
    "etc/libvirt/libvirtd.conf": LIBVIRTD,
    "etc/systemd/system/sanlock.service.d/lab.conf": SANLOCK_UNIT,
    "etc/systemd/system/libvirtd.service.d/lab.conf": LIBVIRTD_UNIT,
}
