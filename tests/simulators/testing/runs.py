"""A run of pytest of its own: what people who use the plugin see."""

import os
import subprocess
import sys
from pathlib import Path

RUN_S_MAX = 240.0


def run_tests(
    folder: Path, text: str, *arguments: str, ini: str = "", python: Path = Path(sys.executable), **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run one test file in a folder of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "test_it.py").write_text(text, encoding="utf-8")
    (folder / "pytest.ini").write_text(f"[pytest]\nfilterwarnings = error\n{ini}", encoding="utf-8")
    return subprocess.run(
        [str(python), "-m", "pytest", "-p", "no:cacheprovider", "--basetemp", str(folder / "temporary"), *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=RUN_S_MAX,
        check=False,
    )
