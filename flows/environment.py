"""The environment of every process that is, runs for, or asks a Prefect server."""

import os
from collections.abc import Mapping
from pathlib import Path

from flows.server import HOST, Place, ServeRefused, closed_file, credentials
from tasks.settings import FILES

# Nothing here may call home or offer a paid service.  The second UI asks an analytics host even
# with analytics switched off, so the first one is served.
SILENT: Mapping[str, str] = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_SERVER_UI_V2_ENABLED": "false",
    "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
}

TUNED: Mapping[str, str] = {
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",  # the least that Prefect allows
    "PREFECT_RUNNER_POLL_FREQUENCY": "2",
    "PREFECT_WORKER_QUERY_SECONDS": "2",
    "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "0.5",  # who follows a run sees lines as they come
    "PREFECT_LOGGING_COLORS": "false",
    "PREFECT_LOGGING_TO_API_MAX_LOG_SIZE": "200000",
    "PREFECT_SERVER_LOG_RETRYABLE_ERRORS": "true",
}


def environment(place: Place, port: int) -> dict[str, str]:
    """Return the whole environment of a process that runs or asks this home's server."""
    return _environment(place, f"http://{HOST}:{port}/api", credentials(place))


def worker_environment(place: Place, url: str, credentials_file: Path) -> dict[str, str]:
    """Return the environment of a worker of another home's server.  Raises ServeRefused."""
    try:
        auth = closed_file(credentials_file)
    except FileNotFoundError:
        raise ServeRefused(
            f"no file {credentials_file}: copy `credentials` from the home of the server, mode 0600"
        ) from None
    return _environment(place, url, auth)


def _environment(place: Place, url: str, auth: str) -> dict[str, str]:
    # Prefect settings of the calling shell are dropped: they could name another server, and a
    # profile of the user must not leak into the runs.  The password travels only in here.
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")
    }
    for name in (f"RUNBOOKS_{each.upper()}" for each in FILES):
        if file := inherited.get(name):
            inherited[name] = str(Path(file).expanduser().absolute())
    return {
        **inherited,
        **SILENT,
        **TUNED,
        "PREFECT_HOME": str(place.prefect_home),
        "PREFECT_API_URL": url,
        "PREFECT_API_AUTH_STRING": auth,
        "RUNBOOKS_HOME": str(place.home),
        # Prefect's runner keeps files under one name for all users of a machine otherwise.
        "TMPDIR": str(place.temporary),
        "NO_PROXY": ",".join(filter(None, (inherited.get("NO_PROXY"), HOST))),
    }


def server_environment(place: Place, port: int) -> dict[str, str]:
    """Return what the server process needs beyond `environment`."""
    common = environment(place, port)
    return {
        **common,
        "PREFECT_SERVER_API_AUTH_STRING": common["PREFECT_API_AUTH_STRING"],
        "PREFECT_SERVER_API_HOST": HOST,
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_UI_STATIC_DIRECTORY": str(place.prefect_home / "ui"),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": (
            f"sqlite+aiosqlite:///{place.prefect_home / 'prefect.db'}"
        ),
        "PREFECT__SERVER_FINAL": "1",
    }
