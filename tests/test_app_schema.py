"""Whatever the API's schema allows is asked, and what it does not allow as well."""

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import positive_data_acceptance
from serving import encoded, folder_of, picture, serving

PICTURES = st.sampled_from([encoded(picture(seed=seed)) for seed in range(3)])
schemathesis.openapi.format("binary", st.one_of(PICTURES, st.binary(max_size=2000)))
schemathesis.openapi.media_type("image/png", PICTURES)
schemathesis.openapi.media_type("image/jpeg", PICTURES)


@pytest.fixture(scope="module")
def schema(tmp_path_factory):
    with serving(folder_of(tmp_path_factory.mktemp("served") / "model")) as (url, _):
        yield schemathesis.openapi.from_url(f"{url}/openapi.json")


api = schemathesis.pytest.from_fixture("schema")


@api.parametrize()
@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_answers_are_as_the_schema_says(case):
    # bytes that are no image fit the schema and are refused all the same
    case.call_and_validate(excluded_checks=[positive_data_acceptance], timeout=60)


def test_the_schema_is_whole(schema):
    found = requests.get(schema.location, timeout=10).json()
    assert {"/predict", "/health", "/ready", "/model", "/metrics"} == set(found["paths"])
    assert not_a_server_error
