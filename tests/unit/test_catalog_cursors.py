"""Cursors come back as they were given, and nothing else is taken for one."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.api.cursors import change_cursor, change_of, page_end, page_start
from catalog.clients.conversion import procedure_of
from catalog.domain.catalogue import Origin, Procedure
from catalog.domain.versions import digest, may_follow
from common.errors import Invalid
from tests.unit.test_catalog_records import RECORD

asked = st.tuples(st.text(max_size=20), st.none() | st.booleans() | st.text(max_size=5))


@given(st.integers(0, 2**31 - 1), st.text("0123456789.Hxoa -_", min_size=1, max_size=60), asked)
def test_a_page_goes_on_where_it_ended(rank, code, query):
    cursor = page_end(rank, code, query)
    assert page_start(cursor, query) == (rank, code)
    assert len(cursor) <= 200  # what the routes take
    assert cursor.replace("-", "").replace("_", "").isalnum()


@given(asked, asked)
def test_a_cursor_belongs_to_its_query(query, other):
    cursor = page_end(1, "1.000016", query)
    if query == other:
        assert page_start(cursor, other) == (1, "1.000016")
    else:
        with pytest.raises(Invalid):
            page_start(cursor, other)


@given(st.text("abcdefghijkWyJjIlsxLDJd0123456789-_", min_size=1, max_size=40))
def test_made_up_cursors_are_refused_and_never_break_anything(cursor):
    for read in (lambda: page_start(cursor, ("q",)), lambda: change_of(cursor)):
        with suppress(Invalid):
            read()


@given(st.integers(0, 2**63 - 1))
def test_the_feed_goes_on_where_it_ended(change):
    assert change_of(change_cursor(change)) == change


@pytest.mark.parametrize("newest", [None, "package", "national", "operator"])
@pytest.mark.parametrize("origin", ["package", "national", "operator"])
def test_only_the_package_stands_behind_the_others(origin: Origin, newest: Origin | None):
    assert may_follow(origin, newest) is (origin != "package" or newest in (None, "package"))


def test_a_field_that_is_new_in_the_model_is_no_change_of_every_entry():
    class Later(Procedure):
        invented_next_year: str | None = None

    now = procedure_of(RECORD)
    later = Later.model_validate(now.model_dump())
    assert digest(later) == digest(now)
    assert digest(now.model_copy(update={"results": ()})) != digest(
        now.model_copy(update={"results": None})
    )
