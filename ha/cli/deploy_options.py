"""Options of upstream's `--deploy` that are known only to be refused with a reason."""

# What upstream's deployment hands to the playbooks that make an engine, which this one does not.
UPSTREAMS_OPTIONS = ("restore-from-file=", "4", "6", "ansible-extra-vars=")
