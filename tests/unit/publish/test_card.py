"""The model card: the same for the same run, wherever it was made."""

import pytest

from selfie.artifacts.manifests import Manifest
from selfie.publish.card import Origin, model_card


def card_of(base_model: str) -> str:
    source = Manifest.model_construct(step="rounds/00/seed", inputs={}, parameters={}, counts={}, measures={})
    return model_card(source, "0" * 64, Origin("toy", 0, base_model, None, "1" * 64, "2" * 64))


def test_a_directory_is_known_by_its_name_so_that_a_card_does_not_tell_machines_apart():
    at_home, on_cluster = card_of("file:///home/me/my%20model/"), card_of("file:///var/lib/my%20model")
    assert at_home == on_cluster
    assert "| Base model | `my model` |" in at_home


@pytest.mark.parametrize("uri", ["hf://org/model", "s3://bucket/model"])
def test_a_model_with_an_address_is_known_by_it(uri: str):
    assert f"| Base model | `{uri}` |" in card_of(uri)
