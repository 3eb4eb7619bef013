"""Launch the AWS sandbox: one process that serves the accounts and the control API on a loopback port."""

from __future__ import annotations

import gc
import logging
import os
import signal
import threading
from pathlib import Path
from types import FrameType

import click
from moto import settings as moto_settings
from moto.backends import get_backend
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import BaseWSGIServer, make_server

from drills.sandbox.aws import accounts, roguereports  # noqa: F401 - register their control routes
from drills.sandbox.aws.corrections import apply_corrections
from drills.sandbox.aws.gateway import Gateway
from drills.sandbox.aws.netroutes import start_publishing
from drills.sandbox.aws.stubs import load_stubs

# The services of the runbook; EC2 takes moto two seconds to load, so that begins before the first call.
_WARM = (
    "iam",
    "sts",
    "s3",
    "kms",
    "ec2",
    "dynamodb",
    "sqs",
    "sns",
    "ecr",
    "logs",
    "sagemaker",
    "codepipeline",
)
_BACKLOG = 512

logger = logging.getLogger(__name__)


class QuietRequestHandler(MotoRequestHandler):
    """Serve keep-alive connections without a log line per request; the calls are recorded instead."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Stay silent."""

    def log_error(self, format: str, *args: object) -> None:  # noqa: A002 - the signature of http.server
        """Stay silent: a dropped connection is an injected fault or the client's choice."""


def build_server(host: str, port: int) -> BaseWSGIServer:
    """Compose the sandbox application and bind it."""
    # Every request is authenticated and authorised by the gateway; moto's own evaluator stays out of the way.
    moto_settings.INITIAL_NO_AUTH_ACTION_COUNT = float("inf")
    apply_corrections()
    load_stubs()
    gateway = Gateway(DomainDispatcherApplication(create_backend_app))
    server = make_server(host, port, gateway, threaded=True, request_handler=QuietRequestHandler)
    server.socket.listen(_BACKLOG)
    return server


def _warm_up() -> None:
    for service in _WARM:
        get_backend(service)  # type: ignore[call-overload]
    gc.freeze()  # what is loaded stays: the collector need not walk through it again and again


def _announce(url: str, ready_file: Path | None) -> None:
    if ready_file is None:
        click.echo(url)
        return
    partial = ready_file.with_suffix(".partial")
    partial.write_text(url, encoding="utf-8")
    partial.replace(ready_file)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=0, show_default="a free one")
@click.option(
    "--ready-file", type=click.Path(path_type=Path), help="Write the URL here once the sandbox serves."
)
def main(host: str, port: int, ready_file: Path | None) -> None:
    """Serve the AWS sandbox until it is told to stop."""
    logging.basicConfig(level=logging.WARNING)
    os.environ.pop("AWS_ENDPOINT_URL", None)  # moto calls AWS clients itself and must not call back
    server = build_server(host, port)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    threading.Thread(target=_warm_up, daemon=True).start()
    start_publishing()
    _announce(f"http://{host}:{server.server_port}", ready_file)
    server.serve_forever()


if __name__ == "__main__":
    main()
