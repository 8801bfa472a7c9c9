"""Nothing of a bundle is believed that this version would not have written, and nothing of it is executed."""

import copy
import json
import sys

import pytest
from monai.bundle import ConfigParser

from medseg.bundle.reader import read_bundle
from medseg.bundle.weights import load_network
from medseg.domain.errors import BundleError
from tests.bundles import BUNDLES, stored_bundle, volume_bundle

READ = ("network_def", "preprocessing", "inferer", "postprocessing")


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    return {kind: stored_bundle(make(), folder / kind).folder for kind, make in BUNDLES.items()}


@pytest.fixture(params=BUNDLES)
def folder(request, packed, tmp_path):
    """A copy of a bundle to damage; its weights are not needed."""
    copied = tmp_path / "b"
    (copied / "configs").mkdir(parents=True)
    for name in ("inference.json", "metadata.json"):
        (copied / "configs" / name).write_bytes((packed[request.param] / "configs" / name).read_bytes())
    return copied


def config_of(folder, name="inference"):
    return json.loads((folder / "configs" / f"{name}.json").read_text())


def put(folder, data, name="inference"):
    text = data if isinstance(data, str) else json.dumps(data)
    (folder / "configs" / f"{name}.json").write_text(text)


def refusal(folder):
    with pytest.raises(BundleError) as refused:
        read_bundle(folder)
    assert refused.value.exit_code == 5
    assert str(folder) in str(refused.value)
    return str(refused.value)


def nodes(value, path=()):
    """The places of all values inside a value, itself included."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from nodes(item, (*path, key))


def at(value, path):
    for key in path:
        value = value[key]
    return value


def with_value(data, path, value):
    changed = copy.deepcopy(data)
    at(changed, path[:-1])[path[-1]] = value
    return changed


def read_nodes(config):
    return [(name, *path) for name in READ for path in nodes(config[name])]


def test_what_was_packed_is_accepted(folder):
    read_bundle(folder)


def test_an_expression_anywhere_is_refused_and_not_evaluated(folder, tmp_path):
    marker = tmp_path / "marker"
    for text in (f"$__import__('pathlib').Path({str(marker)!r}).touch()", "@device", "%configs/other.json::x"):
        config = config_of(folder)
        for path in read_nodes(config):
            put(folder, with_value(config, path, text))
            refusal(folder)
        put(folder, config)
        read_bundle(folder)
    assert not marker.exists()


def test_an_expression_that_is_not_read_stays_inert(folder, tmp_path):
    marker = tmp_path / "marker"
    fire = f"$__import__('pathlib').Path({str(marker)!r}).touch()"
    config = config_of(folder)
    for name in config:
        if name not in READ:
            config[name] = [fire] if isinstance(config[name], list) else fire
    put(folder, config | {"initialize": [fire], "imports": [fire, "$import this_marker"]})
    (tmp_path / "this_marker.py").write_text(f"open({str(marker)!r}, 'w')")
    read_bundle(folder)
    assert not marker.exists()
    ConfigParser(config).get_parsed_content("run")  # under plain loading it fires, so this test can fail
    assert marker.exists()


def test_a_target_is_not_imported(folder):
    config = config_of(folder)
    for name in READ:
        for target in ("antigravity.fly", "monai.networks.nets.AHNet", "os.system"):
            put(folder, with_value(config, (name, "_target_"), target))
            refusal(folder)
    assert "antigravity" not in sys.modules


def test_a_key_more_or_less_is_refused(folder):
    config = config_of(folder)
    for path in read_nodes(config):
        value = at(config, path)
        if isinstance(value, dict):
            for key, more in (("_mode_", "callable"), ("_disabled_", True), ("reader", "x"), ("extra", 1)):
                if key not in value:
                    put(folder, with_value(config, path, {**value, key: more}))
                    refusal(folder)
            for key in value:
                put(folder, with_value(config, path, {k: v for k, v in value.items() if k != key}))
                refusal(folder)
    for name in READ:
        put(folder, {key: value for key, value in config.items() if key != name})
        assert name in refusal(folder)


def test_a_transform_more_or_less_or_elsewhere_is_refused(folder):
    config = config_of(folder)
    for name in ("preprocessing", "postprocessing"):
        steps = config[name]["transforms"]
        lists = [[*steps[:n], {"_target_": "Lambdad", "keys": "image", "func": "$print"}, *steps[n:]]
                 for n in range(len(steps) + 1)]  # fmt: skip
        lists += [steps[:n] + steps[n + 1 :] for n in range(len(steps))]
        lists += [[*steps[:n], steps[n], *steps[n:]] for n in range(len(steps))]
        lists += [steps[::-1], []]
        for other in lists:
            put(folder, with_value(config, (name, "transforms"), other))
            refusal(folder)


def test_no_value_makes_the_reader_fail_otherwise(folder):
    """A list for an object was an AttributeError, a number for a name was taken as it was."""
    junk = (None, True, -1, 10**30, "x", [], [[]], {}, {"_target_": []}, [{"_target_": {}}])
    for name, tops in (("inference", READ), ("metadata", ("medseg", "version", "task", "description"))):
        config = config_of(folder, name)
        for path in [(top, *path) for top in tops for path in nodes(config[top])]:
            for value in junk:
                put(folder, with_value(config, path, value), name)
                try:
                    bundle = read_bundle(folder)
                except BundleError:
                    continue
                number, optional = isinstance(value, (int, float)), value is None and path[-1] in ("category", "type")
                assert type(value) is type(at(config, path)) or number or optional, (path, value)
                assert isinstance(bundle.name, str)
        put(folder, config, name)


@pytest.mark.parametrize("name", ["inference", "metadata"])
def test_a_file_that_is_no_plain_json_object_is_refused(folder, name):
    config = config_of(folder, name)
    text = json.dumps(config)
    double = text[:-1] + ', "version": "9", "version": "9"}'
    for bad, words in (
        (double, "twice"),
        (text[:-1], "JSON"),
        ("", "JSON"),
        ("[]", "no JSON object"),
        ("3", "no JSON object"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "JSON"),
        (text[:-1] + ', "x": ' + "[" * 100_000 + "]" * 100_000 + "}", "JSON"),
        (text[:-1] + ', "x": NaN}', "NaN is no JSON number"),
        (text[:-1] + ', "x": "' + "x" * (2 << 20) + '"}', "1 MiB"),
    ):
        put(folder, bad, name)
        assert words in refusal(folder)
    (folder / "configs" / f"{name}.json").write_bytes(text.encode("utf-16"))
    assert "JSON" in refusal(folder)
    put(folder, text[:-1] + ', "x": "' + "x" * (900 << 10) + '"}', name)
    read_bundle(folder)


@pytest.mark.parametrize("name", ["inference", "metadata"])
def test_a_missing_file_is_named(folder, name):
    (folder / "configs" / f"{name}.json").unlink()
    assert f"{name}.json: missing" in refusal(folder)
    (folder / "configs" / f"{name}.json").mkdir()
    refusal(folder)


def test_a_duplicate_key_anywhere_is_refused(folder):
    text = json.dumps(config_of(folder))
    put(folder, text.replace('"widths":', '"widths": [1, 2], "widths":', 1))
    assert "twice" in refusal(folder)


def test_a_network_too_large_for_any_memory_is_refused_before_it_is_allocated(tmp_path):
    folder = stored_bundle(volume_bundle(), tmp_path / "b").folder
    config = config_of(folder)
    put(folder, with_value(config, ("network_def", "widths"), [10**6, 10**6]))
    with pytest.raises(BundleError, match="do not fit"):
        load_network(read_bundle(folder))
