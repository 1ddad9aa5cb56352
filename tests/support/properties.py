"""How property tests run that use a fixture, such as a store or a server."""

from hypothesis import HealthCheck, Phase, settings

# One fixture serves all examples: each leaves it as it was, or needs nothing of it. An example costs
# milliseconds or more, so it is not shrunk, and the same ones run each time.
SHARED_FIXTURES = settings(
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
