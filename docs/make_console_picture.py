"""Makes the picture of the console: a simulation before a collector of its own, two faults, a finished lot.

Usage: make pictures (needs Chromium on PATH, or its path in CHROMIUM). Takes about a minute.
"""

import asyncio
import os
import re
import shutil
import tempfile
import time
from pathlib import Path

from playwright.async_api import async_playwright
from textual.widgets import DataTable

from filiere.plant_file import load_plant
from filiere.settings import Settings, load_settings, variable
from simulators.console.app import ConsoleApp
from simulators.console.run import Simulation
from simulators.demo.children import Children, filiere_command
from simulators.demo.services import find_broker
from simulators.output.live_faults import Trigger
from simulators.output.order import Order

PICTURE = Path(__file__).parent / "pictures" / "console.png"
SIZE = (150, 44)
"""Columns and rows of the terminal."""
SPEED = 600.0
WAIT_S = 240.0
SHOW_S = 6.0
"""From the faults to the picture: an hour of simulated time."""
T1 = "caux/textile/t1"
FAULTS = (
    {"kind": "sensor_drift", "line": T1, "target": "extruder.melt_temp", "severity": 10.0},
    {"kind": "sentinel", "line": T1, "target": "extruder.melt_pressure_after"},
    {"kind": "screen_clog", "line": T1, "target": "extruder"},
)
CHROMIUM_ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")


async def main() -> None:
    """Everything, in order."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("no Chromium on PATH: install it, or name it in CHROMIUM")
    with tempfile.TemporaryDirectory() as folder:
        children = Children(logs_dir=Path(folder) / "logs")
        try:
            settings = stand(load_settings(data_dir=Path(folder)), children)
            svg = await photograph(settings)
        finally:
            children.stop_all()
    await draw(svg, chromium)


def stand(settings: Settings, children: Children) -> Settings:
    """A broker, a collector and an issuer of certificates; returns the settings that point to them."""
    broker = find_broker(settings, children)
    children.environment = {variable("data_dir"): str(settings.data_dir), **broker.settings}
    children.start("collect", filiere_command("collect", "--stop-with-stdin"))
    children.start("certificate", filiere_command("certificate", "issue", "--watch"))
    host, _, port = broker.address.rpartition(":")
    return load_settings(data_dir=settings.data_dir, mqtt_host=host, mqtt_port=int(port))


async def photograph(settings: Settings) -> str:
    """The console with faults on the textile line while it extrudes, and lots that are finished; as SVG."""
    plant = load_plant(settings.plant)
    simulation = Simulation(settings, plant, Order(speed=SPEED), language="fr")
    simulation.start()
    try:
        app = ConsoleApp(simulation, plant)
        async with app.run_test(size=SIZE) as pilot:
            deadline = time.monotonic() + WAIT_S
            ordered = False
            while time.monotonic() < deadline:
                await pilot.pause(0.5)
                run = simulation.feed.run(T1)
                extrudes = run is not None and run.step == "extrusion" and len(app.reaction.finished) > 1
                if extrudes and not ordered:
                    for fault in FAULTS:
                        await asyncio.to_thread(simulation.folder.order, Trigger(fault=fault), timeout_s=30.0)
                    ordered = True
                    table = app.query_one("#signals-0", DataTable)
                    table.move_cursor(row=table.get_row_index("extruder.melt_temp"))
                elif ordered:
                    await pilot.pause(SHOW_S)
                    return app.export_screenshot()
            raise SystemExit(f"waited {WAIT_S:.0f} s for a finished lot and an extrusion: run `filiere demo`")
    finally:
        simulation.stop()


async def draw(svg: str, chromium: str) -> None:
    """The SVG as PNG: it is written for a font that not everybody has."""
    found = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    assert found is not None
    width, height = (round(float(each)) for each in found.groups())
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=list(CHROMIUM_ARGUMENTS))
        page = await browser.new_page(viewport={"width": width, "height": height})
        await page.set_content(f'<body style="margin:0">{svg}</body>')
        await page.screenshot(path=PICTURE)
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
