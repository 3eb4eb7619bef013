"""The scene of each cloud, on the sandbox that the process shares; it starts when it is first asked for."""

from __future__ import annotations

import pytest

from firebreak.model import Cloud
from tests.e2e.aws import AwsScene
from tests.e2e.azure import AzureScene
from tests.e2e.scene import Scene


def scene_of(cloud: Cloud, request: pytest.FixtureRequest) -> Scene:
    """A cloud's scene."""
    if cloud is Cloud.AZURE:
        return AzureScene(request.getfixturevalue("azure_sandbox"))
    return AwsScene(request.getfixturevalue("sandbox"))
