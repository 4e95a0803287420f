"""The console: driven by its keys, in both languages, with a system and without one."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Button, DataTable, Input, Select, Static, TabbedContent

from filiere.events import RunStarted
from filiere.plant import Label
from simulators.console.app import NARROW, ConsoleApp
from simulators.console.order_screen import OrderScreen
from simulators.console.reaction import Reaction, Stored
from simulators.demo.observation import Finished
from simulators.output.live_faults import Trigger
from tests.simulators.console.builders import CAUX, F1, START_NS, T1, WITHIN_S, HandMade, progress, publication, rows

SIZE = (150, 50)


def drive(
    session: HandMade,
    use: Callable[[Pilot[None]], Awaitable[None]],
    *,
    language: str = "fr",
    size: tuple[int, int] = SIZE,
) -> None:
    """Run the console without a terminal, and use it."""

    async def main() -> None:
        app = ConsoleApp(session, CAUX, language=language)  # type: ignore[arg-type]  # `fr` or `en`
        async with app.run_test(size=size) as pilot:
            await use(pilot)

    with session.running():
        asyncio.run(main())


async def until(pilot: Pilot[None], question: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not question():
            pilot.app.refresh_now()  # type: ignore[attr-defined]  # ours
            await pilot.pause(0.02)


def cells(pilot: Pilot[None], key: str, line: int = 0) -> list[str]:
    return [str(cell) for cell in pilot.app.query_one(f"#signals-{line}", DataTable).get_row(key)]


def faults(pilot: Pilot[None]) -> list[list[Any]]:
    table = pilot.app.query_one("#faults", DataTable)
    return [table.get_row(key) for key in table.rows]


def text(pilot: Pilot[None], widget: str) -> str:
    return str(pilot.app.query_one(widget, Static).content)


def told(pilot: Pilot[None]) -> list[str]:
    return [each.message for each in pilot.app._notifications]


@pytest.fixture
def session(tmp_path: Path) -> HandMade:
    return HandMade(tmp_path)


def test_the_true_value_stands_beside_the_shown_one_and_beside_the_stored_one(session: HandMade) -> None:
    session.feed.watch(
        publication(rows(melt_temp=([230.04, 231.5], [230.0, 245.0]), melt_pressure=([44.0, 45.0], [44.0, math.nan])))
    )
    session.reaction = Reaction(
        there=True, stored={T1: {"extruder.melt_temp": Stored(value=245.0, quality="out_of_range", beyond="▲")}}
    )

    async def use(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "245" in cells(pilot, "extruder.melt_temp")[3])
        melt = cells(pilot, "extruder.melt_temp")
        assert melt[1].startswith("231,5")
        assert melt[2].startswith("245")
        assert melt[3].startswith("▲! 245")
        assert cells(pilot, "extruder.melt_pressure")[2] == "rien"
        assert cells(pilot, "shredder.motor_load")[1:] == ["", "", "", ""]
        table = pilot.app.query_one("#signals-0", DataTable)
        table.move_cursor(row=table.get_row_index("extruder.melt_temp"))
        await until(pilot, lambda: "•" in text(pilot, "#trend-0"))
        assert "─" in text(pilot, "#trend-0")

    drive(session, use)


def test_a_signal_has_the_name_that_the_wall_has(session: HandMade) -> None:
    async def use(pilot: Pilot[None]) -> None:
        await pilot.pause()
        names = {key: cells(pilot, key, 1)[0] for key in ("extruder.melt_pressure", "feeders.refill")}
        assert names == {
            "extruder.melt_pressure": "Pression en filière (bar)",
            "feeders.refill": "Remplissage en cours",
        }

    drive(session, use)


def test_without_a_system_it_says_so_and_what_to_start(session: HandMade) -> None:
    session.progress = progress(waiting=1234, problem="no connection to the broker")

    async def use(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "60×" in text(pilot, "#now"))
        assert "Aucun collecteur" in text(pilot, "#reaction")
        assert "filiere collect" in text(pilot, "#reaction")
        assert "1\u202f234 dans la boîte d'envoi" in text(pilot, "#now")
        assert "no connection to the broker" in text(pilot, "#now")

    drive(session, use)


def test_the_systems_reaction_is_told_lag_refusals_verdicts_and_what_is_wrong(session: HandMade) -> None:
    lot = Finished(
        lot="T1-1",
        path=Path("x"),
        mass_kg="1",
        recycled=Decimal(1),
        u95=Decimal(0),
        verdict="pass",
        address="",
    )
    session.reaction = Reaction(
        there=True,
        received=12_345,
        lag=17,
        quarantined={"not_finite": 3, "local_time": 1},
        finished=(
            lot,
            Finished(
                lot="T1-0",
                path=Path("y"),
                mass_kg="",
                recycled=None,
                u95=None,
                verdict="refused",
                address="",
                reasons=("masses",),
            ),
        ),
        problems=(Label(fr="rien n'est accepté", en="nothing is accepted"),),
    )

    async def use(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "12,345" in text(pilot, "#reaction"))
        found = text(pilot, "#reaction")
        assert "12,345 messages received, 17 to record" in found
        assert "refused: not_finite 3, local_time 1" in found
        assert "✓ T1-1: pass" in found
        assert "✗ T1-0: refused (masses)" in found
        assert "✗ nothing is accepted" in found

    drive(session, use, language="en")


def test_the_run_under_way_is_named_and_a_key_goes_to_the_next_line(session: HandMade) -> None:
    step = CAUX.line(T1).steps[0]
    session.feed.watch(
        publication(
            event=RunStarted(
                event_id="e", event_time_ns=START_NS, run="r", line=T1, step=step.id, recipe="x", lot="T1-1", inputs=()
            )
        )
    )

    async def use(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "T1-1" in text(pilot, "#run-0"))
        assert text(pilot, "#run-0") == f"{step.label.fr} · T1-1"
        assert text(pilot, "#run-1") == "à l'arrêt"
        await pilot.press("l")
        await until(pilot, lambda: pilot.app.query_one("#lines", TabbedContent).active == "line-1")

    drive(session, use)


def test_a_fault_is_chosen_triggered_seen_at_its_signal_and_stopped_by_keys(session: HandMade) -> None:
    session.feed.watch(publication(rows(melt_temp=([230.0], [231.0]))))

    async def use(pilot: Pilot[None]) -> None:
        await pilot.press("d")
        await until_screen(pilot)
        pilot.app.screen.query_one("#kind", Select).value = "sensor_drift"
        await pilot.pause()
        pilot.app.screen.query_one("#target", Select).value = "extruder.melt_temp"
        pilot.app.screen.query_one("#severity", Input).value = "0,5"
        pilot.app.screen.query_one("#duration", Input).value = "2 h"
        await pilot.pause()
        pilot.app.screen.query_one("#trigger", Button).press()
        await pilot.pause()
        await until(pilot, lambda: [row[0] for row in faults(pilot)] == ["en cours"])
        (fault,) = session.faults.values()
        assert (fault.kind, fault.severity, fault.duration_s) == ("sensor_drift", 0.5, 7200.0)
        await until(pilot, lambda: cells(pilot, "extruder.melt_temp")[4] == fault.label)
        assert pilot.app.query_one("#signals-0", DataTable).max_scroll_x == 0
        await until(pilot, lambda: any("Déclenchée" in each for each in told(pilot)))
        await pilot.press("x")
        await until(pilot, lambda: faults(pilot)[0][0] == "finie")
        await until(pilot, lambda: cells(pilot, "extruder.melt_temp")[4] == "")

    drive(session, use)


async def until_screen(pilot: Pilot[None]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not isinstance(pilot.app.screen, OrderScreen):
            await pilot.pause(0.02)


def test_what_the_simulation_refuses_is_told_and_changes_nothing(session: HandMade) -> None:
    async def use(pilot: Pilot[None]) -> None:
        pilot.app._order(Trigger(fault={"kind": "gremlin", "line": T1}), Label(fr="", en=""))  # type: ignore[attr-defined]  # ours
        await until(pilot, lambda: any("expected one of heater_open" in each for each in told(pilot)))
        assert not faults(pilot)

    drive(session, use)


def test_with_nothing_chosen_nothing_is_ordered_or_stopped(session: HandMade) -> None:
    async def use(pilot: Pilot[None]) -> None:
        await pilot.press("x")
        await until(pilot, lambda: any("Choisir une panne" in each for each in told(pilot)))
        await pilot.press("d")
        await until_screen(pilot)
        pilot.app.refresh_now()  # type: ignore[attr-defined]  # ours: the lines go on behind it
        pilot.app.screen.query_one("#trigger", Button).press()
        await pilot.pause()
        assert isinstance(pilot.app.screen, OrderScreen)
        assert "Choisir" in str(pilot.app.screen.query_one("#wrong", Static).content)
        pilot.app.screen.query_one("#kind", Select).value = "screen_clog"
        await pilot.pause()
        pilot.app.screen.query_one("#severity", Input).value = "much"
        pilot.app.screen.query_one("#trigger", Button).press()
        await pilot.pause()
        assert "nombre" in str(pilot.app.screen.query_one("#wrong", Static).content)
        await pilot.press("escape")
        await pilot.pause()
        assert not isinstance(pilot.app.screen, OrderScreen)
        assert not session.faults

    drive(session, use)


def test_only_faults_that_the_line_can_have_are_offered(session: HandMade) -> None:
    async def use(pilot: Pilot[None]) -> None:
        for line in (T1, F1):
            screen = OrderScreen(CAUX.line(line), "en")
            assert ("wet_feed" in screen._kinds) == (line == F1 or "dryer" in {unit.id for unit in CAUX.line(T1).units})
            assert "outage" in screen._kinds
        await pilot.press("q")

    drive(session, use)


def test_a_simulation_that_ended_is_told_once_and_the_screen_stays(session: HandMade) -> None:
    session.ended = True

    async def use(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: bool(told(pilot)))
        pilot.app.refresh_now()  # type: ignore[attr-defined]  # ours
        assert len([each for each in told(pilot) if "finie" in each]) == 1
        assert pilot.app.is_running

    drive(session, use)


@pytest.mark.parametrize("size", [(80, 24), (50, 14), (300, 100)])
def test_on_any_terminal_faults_and_values_have_their_place(session: HandMade, size: tuple[int, int]) -> None:
    session.feed.watch(publication(rows(melt_temp=([230.0, 231.0], [230.0, 231.0]))))

    async def use(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "231" in cells(pilot, "extruder.melt_temp")[1])
        lines, right = pilot.app.query_one("#lines").region, pilot.app.query_one("#right").region
        assert lines.area > 0
        assert right.area > 0
        assert (right.y >= lines.bottom) == (size[0] < NARROW)
        assert right.bottom < size[1]
        assert right.right <= size[0]

    drive(session, use, size=size)
