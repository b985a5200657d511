"""An installation of the release before: what it holds becomes the first version, and no change."""

from importlib import resources

import orjson
from alembic import command
from alembic.config import Config
from pydantic import SecretStr
from sqlalchemy import Connection, text

from catalog.domain.versions import vietnam_day
from catalog.settings import Settings
from catalog.store import catalogue as store
from catalog.store import search, versions
from catalog.store.search import Wanted
from catalog.use_cases.loading import Loaded, load
from catalog.use_cases.writing import refresh_outdated
from common.database import Database
from tests.support.catalog import H56, a_package, a_procedure, database_of


def first_release(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(resources.files("catalog") / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "0001")


async def test_an_upgrade_makes_no_new_versions(database_url) -> None:
    url = await database_url("catalog")
    package = a_package(2, a_procedure("1.000001"), agencies=[H56])
    # As the release before stored it: without the fields that came since.
    entry = a_procedure("1.000001").model_dump(mode="json", exclude_none=True)
    agency = H56.model_dump(mode="json", exclude_none=True) | {"name_en": None}
    database = Database(Settings(database_url=SecretStr(url)), name="catalog")
    async with database.engine.begin() as connection:
        await connection.run_sync(first_release)
        await connection.execute(
            text(
                "INSERT INTO procedure (code, version, digest, active, field_name, folded, brief, "
                "body) VALUES ('1.000001', 3, '', true, 'Xây dựng', '', '{}', :body)"
            ),
            {"body": orjson.dumps({"version": 3, **entry, "service_level": None}).decode()},
        )
        await connection.execute(
            text(
                "INSERT INTO agency (code, version, digest, active, body) "
                "VALUES ('H56', 1, '', true, :body)"
            ),
            {"body": orjson.dumps({"version": 1, **agency}).decode()},
        )
        await connection.execute(
            text("INSERT INTO loaded_data (revision, version) VALUES (1, 'r1')")
        )
    await database.close()

    async with database_of(url) as (upgraded, outbox):
        assert await load(outbox, package) == Loaded(procedures=0, agencies=0)
        async with outbox.transaction() as unit:
            assert await refresh_outdated(unit, vietnam_day()) > 0
        async with upgraded.reading() as connection:
            (kept,) = await versions.of_entry(connection, "procedure", "1.000001")
            assert (kept.version, kept.valid_from, kept.origin) == (3, None, "package")
            found = await search.search(connection, Wanted(words=("cap", "phep")), (-1, ""), 5)
            assert [one.code for one in found] == ["1.000001"]
            served = await store.current(connection, "agency", "H56")
            assert served
            assert orjson.loads(served.body)["parent"] is None
