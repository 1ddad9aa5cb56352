"""A region that Amazon Transcribe is in is not taken for a wrong one when a network is down."""

import pytest

from transcribed.engines.amazon.account import Account
from transcribed.engines.amazon.opening import AmazonEngine
from transcribed.engines.amazon.settings import AmazonSettings
from transcribed.errors import ConfigurationError, UpstreamLost


def test_the_regions_that_stream_are_known() -> None:
    regions = Account(AmazonSettings(region="us-east-1")).regions
    assert {"us-east-1", "eu-central-1", "us-gov-west-1", "cn-north-1"} <= set(regions)
    assert "us-east-7" not in regions


@pytest.mark.parametrize(
    ("region", "kind", "told"),
    [
        ("us-east-1", UpstreamLost, "Check the network"),
        ("us-east-7", ConfigurationError, "Amazon Transcribe streams in .*us-east-1"),
    ],
)
def test_a_host_that_is_not_found_is_the_network_s_fault_or_the_region_s(
    region: str, kind: type[Exception], told: str
) -> None:
    engine = AmazonEngine(AmazonSettings(region=region))
    place = f"transcribestreaming.{region}.amazonaws.com:8443"
    error = engine._not_found(place, "Name or service not known")
    assert type(error) is kind
    with pytest.raises(kind, match=told):
        raise error
