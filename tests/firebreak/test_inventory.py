from __future__ import annotations

import json
import textwrap
import time
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from firebreak import inventory, yamlsource
from firebreak.errors import FirebreakError, InventoryError, UsageError
from firebreak.model import Cloud
from firebreak.provider import provider

WHOLE = """\
version: 1
workloads:
  - id: support-agent
    cloud: aws
    account: "222222222222"
    region: eu-central-1
    access:
      role_arn: arn:aws:iam::222222222222:role/firebreak-responder
      external_id: example-external-id
    identities:
      - kind: iam-role
        ref: arn:aws:iam::222222222222:role/support-agent
        probes:
          - {service: sqs, operation: ListQueues}
    channels:
      - kind: sqs-queue
        ref: arn:aws:sqs:eu-central-1:222222222222:agents
    stores:
      - kind: dynamodb-table
        ref: arn:aws:dynamodb:eu-central-1:222222222222:table/memory
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "workloads.yaml"
    path.write_text(textwrap.dedent(text))
    return path


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(InventoryError) as caught:
        inventory.load(write(folder, text))
    assert caught.value.exit_code == 2
    return [line.removeprefix(f"{folder}/") for line in caught.value.message.splitlines()]


def test_a_whole_inventory_loads(tmp_path: Path) -> None:
    loaded = inventory.load(write(tmp_path, WHOLE))

    assert list(loaded.workloads) == ["support-agent"]
    workload = loaded.workload("support-agent")
    assert [part.kind for part in workload.resources()] == ["iam-role", "sqs-queue", "dynamodb-table"]
    assert loaded.users_of("arn:aws:iam::222222222222:role/support-agent") == ("support-agent",)


def test_the_digest_follows_content_and_not_layout(tmp_path: Path) -> None:
    before = inventory.load(write(tmp_path, WHOLE))
    rewritten = "# the same, written by a machine\n" + yaml.safe_dump(yaml.safe_load(WHOLE))
    assert inventory.load(write(tmp_path, rewritten)).digest == before.digest

    changed = inventory.load(write(tmp_path, WHOLE.replace("queue", "queue").replace(":agents", ":agents2")))
    assert changed.digest != before.digest
    assert changed.workload("support-agent").digest() != before.workload("support-agent").digest()


def test_a_workload_survives_its_canonical_form(tmp_path: Path) -> None:
    workload = inventory.load(write(tmp_path, WHOLE)).workload("support-agent")
    read = inventory.workload_from_json(workload.canonical())
    assert read == workload
    assert [type(part) for part in read.resources()] == [type(part) for part in workload.resources()]


@pytest.mark.parametrize("raw", [b"", b"\xff", b"[]", b"{}", b'{"id": "a", "cloud": "aws"}'])
def test_what_is_no_workload_is_refused(raw: bytes) -> None:
    with pytest.raises(InventoryError):
        inventory.workload_from_json(raw)


def test_an_unknown_workload_is_refused_with_the_closest_names(tmp_path: Path) -> None:
    loaded = inventory.load(write(tmp_path, WHOLE))
    with pytest.raises(UsageError, match="did you mean support-agent") as caught:
        loaded.workload("suport-agent")
    assert caught.value.exit_code == 2


def test_every_problem_is_named_with_its_line_at_once(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        WHOLE.replace("role/support-agent", "user/support-agent")
        .replace("region: eu-central-1", "reigon: eu-central-1")
        .replace('"222222222222"', "222222222222")
        .replace("kind: sqs-queue", "kind: sqs-que"),
    )
    text = "\n".join(found)
    assert "workloads.yaml:5: workloads[0].account: Input should be a valid string: put it in quotes" in text
    assert "workloads.yaml:3: workloads[0].region: is missing" in text
    assert "workloads.yaml:6: workloads[0].reigon: is not a known field" in text
    assert "workloads.yaml:12: workloads[0].identities[0].ref: String should match pattern" in text
    assert "'arn:aws:iam::222222222222:user/support-agent'" in text
    assert "workloads.yaml:16: workloads[0].channels[0].kind: 'sqs-que' is not one of" in text
    assert [int(line.split(":")[1]) for line in found] == sorted(int(line.split(":")[1]) for line in found)


def test_the_provider_checks_the_fields_of_the_workload(tmp_path: Path) -> None:
    found = problems(tmp_path, WHOLE.replace("region: eu-central-1", "region: Mars"))
    assert any("workloads.yaml:3: support-agent:" in line and "Mars" in line for line in found)


def test_a_secret_of_the_access_section_is_not_repeated(tmp_path: Path) -> None:
    found = problems(tmp_path, WHOLE.replace("example-external-id", "[very-secret]"))
    assert "access.external_id" in found[0]
    assert "very-secret" not in "\n".join(found)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "must be a mapping"),
        ("- 1\n", 1, "must be a mapping"),
        ("version: 2\nworkloads: []\n", 1, "version: Input should be 1"),
        ("version: 1\nworkloads: []\nversion: 1\n", 3, "version: given twice (first on line 1)"),
        ("version: 1\nworkloads:\n  - 7\n", 3, "a workload must be a mapping"),
        ("version: 1\nworkloads: {}\n", 2, "workloads: Input should be a valid list"),
        ("version: 1\nworkload: []\n", 2, "workload: is not a known field"),
        ("version: 1\nworkloads: [\n", 3, "not valid YAML"),
        ("version: 1\n\tworkloads: []\n", 2, "not valid YAML"),
        ("version: &a 1\nworkloads: [*a]\n", 2, "alias *a: write the value out instead"),
        ("version: 1\nworkloads: !!python/object/apply:os.getcwd []\n", 2, "is not allowed"),
        ("version: 1\nworkloads: !!set {}\n", 2, "is not allowed"),
        ("version: 1\n<<: {workloads: []}\n", 1, "a key must be a plain word"),
        ("version: 1\n? [a, b]\n: 1\n", 1, "a key must be a plain word"),
        ("version: 1\nworkloads: []\n---\nversion: 1\n", 3, "not valid YAML: but found another document"),
        ("version: 2026-13-45\nworkloads: []\n", 1, "month must be in 1..12"),
        ("version: " + "9" * 5000 + "\nworkloads: []\n", 1, "Exceeds the limit"),
        ("version: 1\nworkloads: [\x00]\n", 1, "not valid YAML"),
    ],
)
def test_malformed_files_are_refused_with_a_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    found = problems(tmp_path, text)
    assert any(each.startswith(f"workloads.yaml:{line}:") and words in each for each in found), found


def test_two_workloads_of_one_id_are_refused(tmp_path: Path) -> None:
    document = yaml.safe_load(WHOLE)
    document["workloads"] *= 2
    text = yaml.dump(document, Dumper=_NoAliases)
    assert any("support-agent is declared twice" in line for line in problems(tmp_path, text))


def test_one_resource_declared_twice_is_refused(tmp_path: Path) -> None:
    extra = "      - {kind: dynamodb-table, ref: 'arn:aws:dynamodb:eu-central-1:222222222222:table/memory'}\n"
    found = problems(tmp_path, WHOLE + extra)
    assert found == ["workloads.yaml:21: workloads[0].stores[1]: the same resource is declared twice"]


def test_an_oversized_file_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    path = tmp_path / "workloads.yaml"
    path.write_bytes(b"# padding\n" * (yamlsource.MAX_BYTES // 10 + 1))
    with pytest.raises(InventoryError, match="larger than 5 MiB"):
        inventory.load(path)


def test_a_depth_bomb_is_refused_in_little_time(tmp_path: Path) -> None:
    started = time.monotonic()
    found = problems(tmp_path, "[" * 1_000_000)
    assert "nested deeper than 32 levels" in found[0]
    assert time.monotonic() - started < 5


def test_an_alias_bomb_is_refused_in_little_time(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60)]
    started = time.monotonic()
    assert "alias *a0" in problems(tmp_path, "\n".join(lines))[0]
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_a_file_that_cannot_be_read_is_a_usage_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(InventoryError, match="cannot read") as caught:
        inventory.load(tmp_path / name)
    assert "FIREBREAK_INVENTORY" in str(caught.value)


def test_bytes_that_are_not_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "workloads.yaml"
    path.write_bytes(b"version: \xff\xfe\n")
    with pytest.raises(InventoryError, match="not UTF-8"):
        inventory.load(path)


def test_a_cloud_without_measures_in_this_build_is_named(tmp_path: Path) -> None:
    try:
        provider(Cloud.GCP)
    except FirebreakError:
        found = problems(tmp_path, WHOLE.replace("cloud: aws", "cloud: gcp"))
        assert "workloads.yaml:4: workloads[0].cloud: no measures for gcp" in found[0]
    else:
        pytest.skip("this build has measures for gcp")


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(ANY_JSON)
def test_any_value_is_refused_in_words(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    path = tmp_path_factory.mktemp("any") / "workloads.yaml"
    workload = {"id": "a", "cloud": "aws", "identities": value}
    path.write_text(json.dumps({"version": 1, "workloads": [workload]}))
    with pytest.raises(InventoryError):
        inventory.load(path)


def test_the_published_schema_agrees_with_the_loader(tmp_path: Path) -> None:
    validator = jsonschema.Draft202012Validator(inventory.schema((Cloud.AWS,)))
    validator.check_schema(validator.schema)
    good = yaml.safe_load(WHOLE)
    assert list(validator.iter_errors(good)) == []

    for path, value in (
        (("workloads", 0, "id"), "Not An Id"),
        (("workloads", 0, "identities", 0, "ref"), "arn:aws:iam::1:role/x"),
        (("workloads", 0, "channels", 0, "kind"), "iam-role"),
        (("workloads", 0, "surprise"), 1),
    ):
        bad = yaml.safe_load(WHOLE)
        place = bad
        for part in path[:-1]:
            place = place[part]
        place[path[-1]] = value
        assert list(validator.iter_errors(bad)), path
        with pytest.raises(InventoryError):
            inventory.load(write(tmp_path, yaml.safe_dump(bad)))


class _NoAliases(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True
