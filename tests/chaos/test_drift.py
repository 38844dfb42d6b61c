"""Drift: whatever somebody else did to the cloud is found within one tick, and handled as its policy says.

The drift is made by administrators of the accounts with the official SDK (``drift``).
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.drift import EXPECTED, PREFIXES, REPAIRED, REPORTED, SCENES, Stay, lived

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def stay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stay]:
    """The whole story, lived once."""
    with lived(tmp_path_factory.mktemp("drift")) as made:
        yield made


# -- found -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXPECTED)
def test_each_drift_is_found_by_the_first_tick_and_told_once(stay: Stay, name: str) -> None:
    """One completion for each class, that names class and cause, however many ticks came after."""
    found = stay.classes(name, "drift-found")
    if name in ("rerouted", "revoked"):
        found = found[:1]  # they drift once more when the policy has changed
    assert sorted(found) == sorted(EXPECTED[name])
    for one in stay.told(name, "drift-found"):
        assert stay.instances[name] in one["reason"]["text"] or one["grant"]["ecr_id"] in one["reason"]["text"]


def test_the_report_counts_what_was_found(stay: Stay) -> None:
    """The first tick counts every class; the ones after it find nothing new, and nobody is read in vain."""
    expected: dict[str, int] = {}
    for kinds in EXPECTED.values():
        for kind in kinds:
            expected[kind] = expected.get(kind, 0) + 1
    assert stay.reports["first"]["drift"] == expected
    assert stay.reports["first"]["trouble"] == []
    assert stay.reports["second"]["drift"] == stay.reports["third"]["drift"] == {}


def test_nothing_is_found_where_nothing_drifted(stay: Stay) -> None:
    """A grant that nobody touched is never spoken of, and never written to again."""
    assert stay.classes("left alone", "drift-found") == []
    assert stay.worlds["policy changed"]["left alone"] == stay.worlds["all up"]["left alone"]
    assert stay.writes("left alone", "all up") == []


# -- handled -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REPAIRED)
def test_what_policy_repairs_is_as_it_was(stay: Stay, name: str) -> None:
    """Granted, ACTIVE, with the approved prefixes; and that it was repaired is told once."""
    now = stay.worlds["ticked again"][name]
    [grant], [(_, status, prefixes)] = now["grant"], now["association"]
    assert (bool(grant), status) == (True, "ACTIVE")
    assert prefixes == (PREFIXES if SCENES[name] == "vpc" else [])
    assert stay.classes(name, "drift-repaired")[:1] == sorted(EXPECTED[name])
    assert stay.worlds["ticked again"][name] == stay.worlds["repaired"][name]


def test_a_repair_is_one_write(stay: Stay) -> None:
    """What is missing is put up again and what differs is changed in place; nothing is taken away for it."""
    made = {name: stay.writes(name, "meddled", "ticked again") for name in REPAIRED}
    assert made == {
        "revoked": ["GrantInstanceToExpressConnectRouter"],
        "dissociated": ["CreateExpressConnectRouterAssociation"],
        "detached": ["AttachExpressConnectRouterChildInstance"],
        "rerouted": ["ModifyExpressConnectRouterAssociationAllowedPrefix"],
    }


@pytest.mark.parametrize("name", REPORTED)
def test_what_policy_only_reports_is_left_as_it_is(stay: Stay, name: str) -> None:
    """Nothing is written, and nothing is said to be repaired."""
    assert stay.writes(name, "meddled") == []
    assert stay.classes(name, "drift-repaired") == []
    assert stay.worlds["policy changed"][name] == stay.worlds["meddled"][name]


def test_a_class_is_handled_by_the_policy_of_now(stay: Stay) -> None:
    """The same drift that was mended before is only reported once policy says so, and the other way round it is mended."""
    assert stay.classes("rerouted", "drift-found") == ["prefixes-differ"] * 2
    assert stay.classes("rerouted", "drift-repaired") == ["prefixes-differ"]
    assert stay.writes("rerouted", "meddled again") == []
    [(_, _, prefixes)] = stay.worlds["policy changed"]["rerouted"]["association"]
    assert prefixes == ["172.16.0.0/12"]
    assert stay.writes("revoked", "meddled again") == ["GrantInstanceToExpressConnectRouter"]
    assert stay.reports["last"]["drift"] == {}


def test_reconcile_runs_inside_a_service_too(stay: Stay) -> None:
    """The same command reaches a function of the older generation by its service, and gives the same report."""
    assert stay.reports["in a service"]["drift"] == {"grant-missing": 1, "prefixes-differ": 1}
    assert set(stay.reports["in a service"]) == set(stay.reports["first"])


# -- what was there before us ------------------------------------------------------------------------------------------


def test_a_lease_may_rest_on_what_was_there(stay: Stay) -> None:
    """A foreign grant serves a lease as it is; only what is missing is put up."""
    assert stay.worlds["all up"]["kept"]["grant"] == stay.worlds["before us"]["kept"]["grant"]
    assert stay.worlds["all up"]["adopted"] == stay.worlds["before us"]["adopted"]
    assert stay.writes("adopted", "before us", "all up") == []
    assert stay.writes("kept", "before us", "all up") == ["CreateExpressConnectRouterAssociation"]


def test_adopting_touches_nothing_on_the_cloud(stay: Stay) -> None:
    """The command says what it adopted; no call of any kind is made for it, and none that writes follows from it."""
    told = stay.facts["adopt"]
    assert told.pop("who")  # the user of the machine, since nobody was named
    assert told == {"grant_id": stay.grant_id("adopted"), "adopted": ["grant", "associate"]}
    between = range(stay.positions["all up"] + 1, stay.positions["adopted"] + 1)
    calls = [one for one in stay.house.admin.journal() if one["number"] in between and one["service"] != "mns"]
    assert [one["operation"] for one in calls if one["service"] in ("ecr", "sts")] == []
    assert stay.writes("adopted", "adopted", "ticked again") == []
    assert stay.worlds["ticked again"]["adopted"] == stay.worlds["before us"]["adopted"]
    assert [one["event"] for one in stay.told("adopted", "adopted")] == ["adopted", "adopted"]


def test_the_end_of_its_lease_takes_down_what_was_adopted(stay: Stay) -> None:
    """Account A lets go first, then account B revokes, as if we had put it up."""
    assert stay.worlds["ended"]["adopted"] == {"grant": [], "association": []}
    assert stay.writes("adopted", "ticked again", "ended") == [
        "DeleteExpressConnectRouterAssociation",
        "RevokeInstanceFromExpressConnectRouter",
    ]


def test_the_end_of_its_lease_leaves_a_foreign_grant_alone(stay: Stay) -> None:
    """What we put up beside it goes; the grant that nobody adopted stays, and is not even tried."""
    assert stay.worlds["ended"]["kept"] == {"grant": stay.worlds["before us"]["kept"]["grant"], "association": []}
    assert stay.writes("kept", "ticked again", "ended") == ["DeleteExpressConnectRouterAssociation"]


def test_what_is_foreign_is_taken_down_where_policy_says_so(stay: Stay) -> None:
    """It is adopted, and nobody wants it: account A lets go, then account B revokes. What was reported before stays."""
    stay.admins["unwelcome"].grant()
    stay.admins["unwelcome"].associate()
    stay.look("unwelcome")
    report = stay.house.tick()
    assert report["drift"] == {"foreign-grant": 1, "foreign-association": 1}
    stay.wait_for("unwelcome", "dissociated", "revoked")
    stay.quiet()
    stay.look("taken down")
    assert sorted(stay.classes("unwelcome", "drift-found")) == ["foreign-association", "foreign-grant"]
    assert stay.worlds["taken down"]["unwelcome"] == {"grant": [], "association": []}
    assert stay.writes("unwelcome", "unwelcome") == [
        "DeleteExpressConnectRouterAssociation",
        "RevokeInstanceFromExpressConnectRouter",
    ]
    assert stay.worlds["taken down"]["never asked for"] == stay.worlds["meddled"]["never asked for"]
