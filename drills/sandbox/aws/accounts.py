"""Give each sandbox account a first administrator, as the root user of a real account would."""

from __future__ import annotations

import json
import re
from typing import Any

from moto.moto_api._internal.models import moto_api_backend

from drills.sandbox.aws.control import ControlError, ControlRequest, route
from drills.sandbox.aws.credentials import sessions
from drills.sandbox.aws.identities import Entity, backend_of, ledger
from drills.sandbox.aws.state import emulator_lock, run_reset_hooks, settings

ADMIN = "sandbox-admin"
_ALLOW_ALL = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]},
)


@route("GET", "/health")
def health(_request: ControlRequest) -> dict[str, Any]:
    """Say that the sandbox serves."""
    return {"status": "ok"}


@route("POST", "/reset")
def reset(_request: ControlRequest) -> dict[str, Any]:
    """Empty every account and return to the default settings."""
    with emulator_lock:
        moto_api_backend.reset()
        run_reset_hooks()
    return {}


@route("POST", "/settings")
def change_settings(request: ControlRequest) -> dict[str, Any]:
    """Change settings and return all of them."""
    settings.update(request.body)
    return dict(vars(settings))


@route("POST", "/bootstrap")
def bootstrap(request: ControlRequest) -> dict[str, Any]:
    """Return an administrator's access key of an account, effective at once."""
    account = str(request.body.get("account", ""))
    if not re.fullmatch(r"\d{12}", account):
        message = "account must be 12 digits"
        raise ControlError(message)
    with emulator_lock:
        key = _admin_key(account)
    return {
        "access_key_id": key.access_key_id,
        "secret_access_key": key.secret_access_key,
        "account": account,
    }


def _admin_key(account: str) -> Any:
    backend: Any = backend_of(account)
    if ADMIN not in backend.users:
        backend.create_user("us-east-1", ADMIN, "/", [])
        backend.put_user_policy(ADMIN, "allow-all", _ALLOW_ALL)
        backend.create_access_key(ADMIN)
    key = backend.users[ADMIN].access_keys[0]
    ledger.before_change([Entity(account, "user", ADMIN)])
    return key


@route("POST", "/expire-session")
def expire_session(request: ControlRequest) -> dict[str, Any]:
    """End a session as if its time had passed."""
    return {"expired": sessions.expire(str(request.body.get("access_key_id", "")))}


@route("GET", "/session-secrets")
def session_secrets(_request: ControlRequest) -> dict[str, Any]:
    """List the secret part of every session that was issued."""
    return {"secrets": sessions.secrets()}
