"""What to do after a restore: everything is stopped, and a person decides what comes next."""

from tasks.report import show
from tasks.run_site import Site
from tasks.witnesses import maintenance_flag
from tasks.zeroing import flag_command


def say_next_steps(site: Site, restored: str, repair: str) -> tuple[str, ...]:
    """Show and return what is now, how to repair it after all, and how to go back to work."""
    # Agents that start where the flag is not would act, before a person has looked.
    without_flag = (
        "The whiteboard does not say global maintenance. While all services are stopped and before "
        f"any of them starts, on {site.actor}: {flag_command(site.target.path)}"
    )
    lines = (
        restored,
        f"Agents and brokers are stopped on {', '.join(site.hosts)}: HA is off, the engine VM is "
        "left alone.",
        *(() if maintenance_flag(site.read(site.witness)) else (without_flag,)),
        f"To repair it after all: {repair}.",
        "To go back to work as it is, on every host: systemctl start ovirt-ha-broker && "
        "systemctl start ovirt-ha-agent",
        "Then, when all hosts are seen in GlobalMaintenance: hosted-engine --set-maintenance "
        "--mode=none",
    )
    show("next-steps", "\n".join(f"- {line}" for line in lines), f"What next: {site.cluster}")
    return lines
