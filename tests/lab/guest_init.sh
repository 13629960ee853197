#!/bin/busybox sh
# First process of the engine stand-in: network, health page, SSH, ACPI button, heartbeat.
# Its settings are words of the kernel's command line: lab.ip=ADDRESS lab.lanes=SECTOR
/bin/busybox --install -s /bin 2>/dev/null
export PATH=/bin:/sbin HOME=/root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts
mount -t devpts devpts /dev/pts
for module in $(cat /lib/modules.order); do
  insmod "/lib/$module" || echo "engine stand-in: $module does not load" >/dev/console
done

# What outlives a reboot: packages of the stand-in, logs, remote steps.
mount -t ext4 /dev/vda2 /data || echo "engine stand-in: no data partition" >/dev/console
mount -o bind /data/lib /var/lib
mount -o bind /data/log /var/log
rm -f /var/lib/engine/reboot-needed

address= lanes=
for word in $(cat /proc/cmdline); do
  case $word in
    lab.ip=*) address=${word#lab.ip=} ;;
    lab.lanes=*) lanes=${word#lab.lanes=} ;;
  esac
done
host=$(cat /sys/class/dmi/id/product_serial 2>/dev/null)
host=$(echo "${host:-unknown}" | tr ' ' '_')

hostname engine.lab
ip link set lo up
ip addr add "$address/24" dev eth0
ip link set eth0 up
arping -U -c 2 -I eth0 "$address" >/dev/null 2>&1 &
dropbear -r /etc/dropbear/host_key -s
acpid -l /tmp/acpid.log -p /tmp/acpid.pid
httpd -p 80 -h /www
echo "engine stand-in: up on $host" >/dev/console

# Heartbeat. Each boot has a lane of 16 sectors for itself: its first beat stays in the first, its
# last 15 go round in the others. Two copies running at once therefore leave overlapping spans.
boot=$(cat /proc/sys/kernel/random/boot_id)
while :; do
  lane=$((0x$(cut -c 1-4 /proc/sys/kernel/random/uuid) % 2048 * 16 + lanes))
  [ -z "$(dd if=/dev/vda bs=512 skip=$lane count=1 2>/dev/null | tr -d '\0')" ] && break
done
read -r up idle </proc/uptime
base=$(($(date +%s) - ${up%.*}))
beat=0 sector=$lane
while :; do
  read -r up idle </proc/uptime
  printf '%-511s\n' "$boot $host $beat $base $up" |
    dd of=/dev/vda bs=512 seek="$sector" count=1 conv=notrunc,fsync 2>/dev/null
  sector=$((lane + 1 + beat % 15))
  beat=$((beat + 1))
  sleep 1
done
