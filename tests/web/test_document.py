from __future__ import annotations

import json
from ipaddress import ip_network

import pytest

from gtm.model.place import Locus, Place
from gtm.web.document import as_object, document
from tests.web.sample import STATUS


def test_a_status_survives_json() -> None:
    made = as_object(STATUS)
    assert json.loads(json.dumps(made, allow_nan=False)) == made


def test_sets_are_sorted_lists() -> None:
    locus = Locus(place=Place(country="JP"), networks=frozenset({ip_network("192.0.2.0/24"), ip_network("10.0.0.0/8")}))
    assert as_object(locus)["networks"] == ["10.0.0.0/8", "192.0.2.0/24"]


def test_nothing_becomes_a_repr() -> None:
    with pytest.raises(TypeError):
        document(object())
    with pytest.raises(TypeError):
        as_object(("a",))
