"""No file makes an importer fail but with a sentence; the long form: `python -m tests.fuzz.importers 100000`."""

from hypothesis import HealthCheck, given, settings

from tests.fuzz.importers import files, put


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(files())
def test_a_file_is_read_or_refused_with_a_sentence(file: tuple[str, str, bytes]) -> None:
    assert put(*file) in {"table", "refused"}
