"""watch: look at a cluster from outside and tell what is wrong; changes nothing."""

from prefect import flow

from tasks.runs import recorded_run
from tasks.watch import read_every_host, read_report, read_storage
from tasks.watch_anomalies import read_anomalies, tell_anomalies

ID = "watch"


@flow(name=ID, flow_run_name="watch {cluster}")
@recorded_run(ID, mutates=False)
def watch(cluster: str) -> None:
    """Read every host and the storage, and emit an event for each anomaly that is new."""
    hosts = read_every_host(cluster)
    storage = read_storage(cluster, hosts)
    found = read_anomalies(cluster, hosts, storage)
    tell_anomalies(cluster, found)
    read_report(cluster, hosts, storage, found)
