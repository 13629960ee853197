#!/bin/sh
# Stand-ins for the commands by which an engine VM is upgraded, under their names: dnf, rpm,
# needs-restarting, engine-setup, engine-upgrade-check, engine-backup.
# Installed packages and what the repository offers are lists of "NAME VERSION", kept on the disk.
# As with the real engine, dnf leaves ovirt-engine itself alone: engine-setup upgrades it.
cd /var/lib/engine || exit 1

version_in() { awk -v name="$2" '$1 == name { print $2 }' "$1"; }

# What dnf would update: pending PATTERN...  -> "NAME VERSION" a line
pending() {
  while read -r name offered; do
    [ "$name" = ovirt-engine ] && continue
    [ "$(version_in installed "$name")" = "$offered" ] && continue
    [ $# -eq 0 ] && { echo "$name $offered"; continue; }
    for pattern in "$@"; do
      # shellcheck disable=SC2254 - it is a pattern
      case $name in $pattern) echo "$name $offered" ;; esac
    done
  done <available
}

install_version() {
  awk -v name="$1" '$1 != name' installed >installed.new
  echo "$1 $2" >>installed.new
  sync installed.new
  mv installed.new installed
}

stand_in_dnf() {
  verb= patterns=
  for word in "$@"; do
    case $word in
      -*) ;;
      check-update | update | upgrade) verb=$word ;;
      *) patterns="$patterns $word" ;;
    esac
  done
  set -f
  # shellcheck disable=SC2086 - words are patterns, and not expanded
  found=$(pending $patterns)
  case $verb in
    check-update)
      [ -n "$found" ] || exit 0
      echo "$found" | while read -r name offered; do echo "$name.noarch  $offered  stand-in"; done
      exit 100 ;;
    update | upgrade)
      [ -n "$found" ] || { echo "Nothing to do."; exit 0; }
      echo "$found" | while read -r name offered; do
        echo "  Upgrading        : $name-$offered"
        install_version "$name" "$offered"
        [ "$name" != kernel ] || : >reboot-needed
      done
      echo "Complete!" ;;
    *) echo "stand-in for dnf: cannot do $*" >&2; exit 1 ;;
  esac
}

stand_in_rpm() {
  for name in "$@"; do :; done
  version_in installed "$name" | grep . || { echo "package $name is not installed"; exit 1; }
}

stand_in_setup() {
  log=/var/log/ovirt-engine/setup/ovirt-engine-setup-$(date +%Y%m%d%H%M%S)-stand-in.log
  mkdir -p "${log%/*}"
  say() { echo "$1" | tee -a "$log"; }
  wanted=$(version_in installed ovirt-engine-setup)
  say "[ INFO  ] Stage: Initializing"
  if [ "$(cat broken 2>/dev/null)" = setup ]; then
    say "[ ERROR ] Failed to execute stage 'Misc configuration': told so by a test"
    say "[ INFO  ] Log file is located at $log"
    say "[ ERROR ] Execution of setup failed"
    exit 1
  fi
  say "[ INFO  ] Stopping engine service"
  killall httpd
  install_version ovirt-engine "$wanted"
  say "[ INFO  ] Starting engine service"
  [ "$(cat broken 2>/dev/null)" = health ] || httpd -p 80 -h /www
  say "[ INFO  ] Execution of setup completed successfully"
}

stand_in_upgrade_check() {
  if [ "$(version_in installed ovirt-engine)" = "$(version_in available ovirt-engine-setup)" ]
  then echo "No upgrade"; exit 1
  else echo "Upgrade available."; fi
}

stand_in_backup() {
  for word in "$@"; do
    case $word in --file=*) file=${word#--file=} ;; esac
  done
  mkdir -p "${file%/*}"
  tar -cf "$file" installed available && echo "Done."
}

case ${0##*/} in
  dnf) stand_in_dnf "$@" ;;
  rpm) stand_in_rpm "$@" ;;
  needs-restarting) [ ! -e reboot-needed ] ;;
  engine-setup) stand_in_setup ;;
  engine-upgrade-check) stand_in_upgrade_check ;;
  engine-backup) stand_in_backup "$@" ;;
esac
