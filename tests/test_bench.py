"""The benchmark's large database is one that the registry can serve: else `make bench` breaks unseen."""

from bench.filling import fill

from tests.house import Registered


def test_a_filled_database_is_served(registered: Registered) -> None:
    owner = registered.admin
    registered.admin.post("/orgs", {"key": "full"})
    fill(registered.client.app.state.registry.database, "full", models=3, versions_each=2)  # type: ignore[attr-defined]
    assert owner.get("/org/full/models").json()["total"] == 3
    assert owner.get("/org/full/models/m00002").json()["version"] == "1.1.0"
