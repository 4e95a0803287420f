import re
from pathlib import Path

import yaml

from dashboards.grafana import FOLDER_UID, TITLE, datasource

PROVISIONING = Path(__file__).parent.parent.parent / "dashboards" / "provisioning"
PLACEHOLDER = re.compile(r"\$(?:__file)?\{[^}]+\}")


def provisioned(path: str) -> dict:
    return yaml.safe_load((PROVISIONING / path).read_text())


def test_a_provisioned_datasource_is_the_one_that_a_push_makes():
    (found,) = provisioned("datasources/filiere.yaml")["datasources"]
    secret = found.pop("secureJsonData")
    assert found.pop("editable") is False
    assert found == datasource("${INFLUX_URL}", "${INFLUX_BUCKET}")
    assert secret == {"httpHeaderValue1": "Token $__file{/run/secrets/influx_token}"}


def test_provisioned_dashboards_are_in_the_folder_that_a_push_makes():
    (found,) = provisioned("dashboards/filiere.yaml")["providers"]
    assert (found["folder"], found["folderUid"]) == (TITLE, FOLDER_UID)
    assert found["allowUiUpdates"] is False


def test_no_secret_is_written_in_the_files():
    for path in PROVISIONING.rglob("*.yaml"):
        for line in path.read_text().splitlines():
            if "Token" in line and not line.startswith("#"):
                assert PLACEHOLDER.search(line), line
