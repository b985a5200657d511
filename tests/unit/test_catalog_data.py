"""The package data: complete, consistent, honest about what is irregular or unknown."""

import re
from collections import Counter
from importlib import resources

import orjson
import pytest

from catalog.use_cases.loading import packaged
from common.contracts.codes import canonical_agency

IRREGULAR = {
    " 1.014325": "surrounding-space",
    "1.0133611": "extra-digits",
    "1.014955-Xoa": "other-form",
    "2.009182739": "extra-digits",
}


@pytest.fixture(scope="module")
def package():
    return packaged()


def test_the_whole_national_catalogue_is_there(package):
    in_catalogue = [entry for entry in package.procedures if entry.source.catalogue]
    assert len(in_catalogue) == 5670
    assert len(package.procedures) == 5678
    assert len(package.agencies) == 107
    assert len(package.code_lists) == 50
    for entries in (package.procedures, package.agencies):
        assert len({entry.code for entry in entries}) == len(entries)


def test_irregular_codes_are_kept_as_the_portal_has_them_and_can_not_be_used(package):
    irregular = {
        entry.code: entry.irregular for entry in package.procedures if entry.irregular is not None
    }
    assert irregular == IRREGULAR
    assert not any(entry.active for entry in package.procedures if entry.code in IRREGULAR)
    # Without its space the code is another procedure's: tidying it would have mixed up the two.
    names = {entry.code: entry.name for entry in package.procedures}
    assert names[" 1.014325"] != names["1.014325"]


def test_what_left_the_catalogue_is_closed(package):
    left = [entry for entry in package.procedures if entry.source.catalogue is None]
    assert len(left) == 8
    assert not any(entry.active for entry in left)
    assert sum(entry.active for entry in package.procedures) == 5670 - len(IRREGULAR)


def test_details_are_there_for_the_selection_and_unknown_elsewhere(package):
    detailed = [entry for entry in package.procedures if entry.documents is not None]
    assert len(detailed) == 850
    assert sum(len(entry.documents) for entry in detailed) > 3900
    assert all(entry.source.details for entry in detailed)
    for entry in package.procedures:
        if entry.documents is None:
            assert (entry.ways_in, entry.results, entry.applicants) == (None, None, None)


def test_a_detail_record_of_another_procedure_is_left_out_and_said_to_be(package):
    noted = [entry for entry in package.procedures if "another procedure" in (entry.note or "")]
    assert len(noted) == 16
    for entry in noted:
        assert entry.promulgator.code == "G01"
        assert (entry.documents, entry.time, entry.levels) == (None, None, None)
        assert entry.fee.kind == "unknown"
        assert entry.source.details is None
    decisions = Counter(entry.decision for entry in package.procedures)
    assert not decisions["226/QĐ-UBND"]
    assert not decisions["1404/QĐ-UBND"]


def test_service_levels_are_only_those_that_a_source_names(package):
    levels = Counter(entry.service_level for entry in package.procedures if entry.service_level)
    assert levels == {"full": 10, "partial": 10}
    assert all(
        (entry.service_level is None) == (entry.service_level_from is None)
        for entry in package.procedures
    )


def test_both_forms_of_an_agency_code_name_one_agency(package):
    known = {entry.code: entry for entry in package.agencies}
    for entry in package.agencies:
        assert canonical_agency(entry.code) == entry.code
        assert canonical_agency(entry.legacy_code) == entry.code
        assert entry.legacy_code == f"000.00.00.{entry.code}"
        assert entry.successor is None or known[entry.successor].active
    assert sum(entry.active for entry in package.agencies) == 70


def test_every_source_that_a_row_names_is_explained(package):
    sets = orjson.loads((resources.files("catalog") / "data" / "manifest.json").read_bytes())[
        "sets"
    ]
    for entry in package.procedures:
        for source in (entry.source.catalogue, entry.source.details):
            assert source is None or source in sets["procedures"]["sources"]
    for agency in package.agencies:
        assert agency.sources
        assert set(agency.sources) <= set(sets["agencies"]["sources"])
    shorthand = re.compile(r"^[A-Z]{2,5}\d*\b")
    for listed in package.code_lists:
        for source in listed.sources:
            short = shorthand.match(source)
            if short and not source.startswith(("NĐ", "QĐ", "PVN")):
                assert short[0] in sets["code_lists"]["sources"], source


def test_code_lists_carry_version_source_and_confidence(package):
    lists = {entry.id: entry for entry in package.code_lists}
    for entry in package.code_lists:
        assert entry.version
        assert entry.sources
        codes = [item.code for item in entry.items]
        assert len(set(codes)) == len(codes)
    assert [item.code for item in lists["dossier_status"].items] == [
        str(number) for number in range(1, 11)
    ]
    assert len(lists["province"].items) == 34
    assert len(lists["province_before_2025_07"].items) == 63
    assert len(lists["commune"].items) == 3321
    # The same number, another province: a code means nothing without its list.
    now, before = (
        next(item.name for item in lists[name].items if item.code == "15")
        for name in ("province", "province_before_2025_07")
    )
    assert now != before
