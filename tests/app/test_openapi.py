"""Whatever the API's schema allows is asked, and what it does not allow as well."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from support.serving import encoded, folder_of, picture, serving

PICTURES = st.sampled_from([encoded(picture(seed=seed)) for seed in range(3)])
PATHS = {"/predict", "/health", "/ready", "/model", "/metrics"}
schemathesis.openapi.format("binary", PICTURES)
schemathesis.openapi.media_type("image/png", PICTURES)
schemathesis.openapi.media_type("image/jpeg", st.one_of(PICTURES, st.binary(max_size=2000)))


@pytest.fixture(scope="module")
def operations(tmp_path_factory):
    with serving(folder_of(tmp_path_factory.mktemp("served") / "model")) as (url, _):
        schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
        yield {each.ok().path: each.ok() for each in schema.get_all_operations()}


@pytest.mark.parametrize("path", sorted(PATHS))
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_answers_are_as_the_schema_says(operations, path, mode):
    assert set(operations) == PATHS

    @given(case=operations[path].as_strategy(generation_mode=mode))
    @settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    def asked(case):
        # bytes that are no image fit the schema and are refused all the same
        case.call_and_validate(excluded_checks=[positive_data_acceptance], timeout=60)

    if mode is GenerationMode.POSITIVE or operations[path].query:
        asked()
