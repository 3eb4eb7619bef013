"""The ways of proving who sent an alert, one module each; every failure is an UnauthenticatedError."""

from __future__ import annotations

from firebreak.settings import WebSettings
from firebreak.web.webhook.authenticate.fetch import Fetch
from firebreak.web.webhook.authenticate.hmac_signature import HmacSignature
from firebreak.web.webhook.authenticate.mtls import ClientCertificate
from firebreak.web.webhook.authenticate.oidc import Oidc
from firebreak.web.webhook.authenticate.sns import SnsSignature
from firebreak.web.webhook.authenticate.standard import StandardWebhooks
from firebreak.web.webhook.authenticate.token import StaticToken
from firebreak.web.webhook.configuration import (
    Authentication,
    HmacMode,
    MtlsMode,
    OidcMode,
    SnsMode,
    StandardMode,
    TokenMode,
    resolved,
)
from firebreak.web.webhook.request import Authenticator


def authenticator(mode: Authentication, settings: WebSettings, fetch: Fetch) -> Authenticator:
    """What a source's mode asks for; raises SettingsError where a secret is missing."""
    match mode:
        case StandardMode():
            return StandardWebhooks(resolved(mode.secrets))
        case HmacMode():
            return HmacSignature(mode, resolved(mode.secrets))
        case TokenMode():
            return StaticToken(mode, resolved(mode.secrets))
        case MtlsMode():
            return ClientCertificate(mode, settings.trusted_proxies)
        case OidcMode():
            return Oidc(mode, fetch)
        case SnsMode():
            return SnsSignature(mode, fetch)
