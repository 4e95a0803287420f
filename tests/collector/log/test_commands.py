"""`filiere log`: what people read, what they can do to the log, and what they are told when they cannot."""

import fcntl
import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner

from collector.log.commands import EXIT_UNREADABLE, log
from collector.log.pruning import DAY_NS
from collector.log.report import log_report
from filiere import logs
from filiere.clock import NS_PER_S
from filiere.errors import MessageRefused, SettingsError, StoreRefused, StoreUnavailable
from filiere.message_log import MessageLog
from filiere.settings import load_settings
from tests.collector.builders import NOON_NS, Rig, readings

PAGE = 4096


@pytest.fixture(autouse=True)
def _logs_are_not_output(monkeypatch):
    """A program configures its logs once; here many commands run in one program, which keeps its own."""
    monkeypatch.setattr(logs, "configure_logs", lambda *_: None)
    with capture_logs():
        yield


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty data folder."""
    monkeypatch.setenv("FILIERE_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def fill(folder, messages=100, *, topic=b"a/b", start_ns=NOON_NS):
    with MessageLog.open(folder / "messages.sqlite") as log:
        log.append([(topic, b"payload %d".ljust(120) % n, start_ns + n) for n in range(messages)])


def run(*arguments, code=0):
    result = CliRunner().invoke(log, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def declined(*arguments, answer):
    """What was said before the question, when the answer is no."""
    result = CliRunner().invoke(log, arguments, input=answer)
    assert isinstance(result.exception, SettingsError)
    assert "nothing was done" in str(result.exception)
    return result.stdout


@contextmanager
def running(folder, part):
    folder.mkdir(exist_ok=True)
    with (folder / f"{part}.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def damage(folder, *pages):
    with (folder / "messages.sqlite").open("r+b") as file:
        for page in pages:
            file.seek(page * PAGE)
            file.write(bytes(PAGE))


def offsets(folder):
    with MessageLog.open_reader(folder / "messages.sqlite") as log:
        return [message.offset for part in log.walk() for message in part]


# info


def test_info_says_what_the_log_holds_and_how_far_it_is_recorded(folder):
    with Rig(folder) as rig:
        rig.arrive(*(readings(seq=seq) for seq in range(20)))
        rig.recorder.step()
        rig.arrive(*(readings(seq=seq) for seq in range(20, 25)))
        told = json.loads(run("info", "--json").stdout)
    assert (told["first"], told["head"], told["messages"]) == (1, 25, 25)
    assert (told["bookmark"], told["lag"]) == (20, 5)
    assert told["first_time"] == "2026-03-11T12:00:00.000000000Z"
    assert told["log_bytes"] > 0
    assert told["disk_free_bytes"] > 0
    assert told["lost"] == []


@pytest.mark.parametrize(("lang", "words"), [("fr", "messages gardés"), ("en", "messages kept")])
def test_info_speaks_both_languages(folder, lang, words):
    fill(folder)
    shown = run("info", "--lang", lang).stdout
    assert words in shown
    assert "100, 2026-03-11T12:00:00.000Z" in shown


def test_info_of_an_empty_log_is_no_error(folder):
    fill(folder, 0)
    assert json.loads(run("info", "--json", "--check").stdout)["messages"] == 0
    assert "jamais enregistré" in run("info").stdout


@pytest.mark.usefixtures("folder")
def test_there_is_no_info_without_a_log():
    with pytest.raises(StoreUnavailable, match="start `filiere collect`"):
        run("info")


def report(folder, *, age_s, messages=6_000, retention_days=30.0):
    """Of a log into which ten messages a second came, up to now."""
    now_ns = NOON_NS + int(age_s * NS_PER_S)
    with MessageLog.open(folder / "messages.sqlite") as log:
        log.append([(b"t", bytes(1_000), now_ns - n * NS_PER_S // 10) for n in reversed(range(messages))])
    settings = load_settings(data_dir=folder, log_retention_days=retention_days)
    return log_report(settings, lambda: now_ns)


def test_the_rate_is_that_of_the_last_ten_minutes_and_says_when_the_disk_is_full(folder):
    found = report(folder, age_s=600)
    assert found.messages_per_s == pytest.approx(10, rel=0.01)
    assert found.bytes_per_s == pytest.approx(10 * found.log_bytes / 6_000, rel=0.01)
    if found.disk_free_bytes / found.bytes_per_s < 30 * 86_400:
        assert found.full_in_s == pytest.approx(found.disk_free_bytes / found.bytes_per_s)


def test_a_disk_that_is_pruned_before_it_is_full_is_never_full(folder):
    assert report(folder, age_s=600, retention_days=0.001).full_in_s is None


def test_info_check_names_what_cannot_be_read(folder):
    fill(folder, 2_000)
    damage(folder, 20, 30)
    told = run("info", "--check", code=EXIT_UNREADABLE).stdout
    assert "ILLISIBLES : messages" in told
    assert "filiere log repair" in told
    spans = json.loads(run("info", "--check", "--json", code=EXIT_UNREADABLE).stdout)["unreadable"]
    assert len(spans) == 2
    assert "Tout le journal se lit" not in told


def test_info_check_of_a_log_in_order_says_so(folder):
    fill(folder)
    assert "Tout le journal se lit." in run("info", "--check").stdout
    assert "The whole log can be read." in run("info", "--check", "--lang", "en").stdout


# export and import


def test_what_is_exported_and_imported_elsewhere_is_the_same_bytes(folder, tmp_path, monkeypatch):
    messages = [(b"\xff\0", b"\xfe", 1), (b"a", b"", 2), ("é/ü".encode(), b'{"v":{"a":1}}', NOON_NS + 41)]
    with MessageLog.open(folder / "messages.sqlite") as log:
        log.append(messages)
    run("export", "-o", str(tmp_path / "out.jsonl"))
    monkeypatch.setenv("FILIERE_DATA_DIR", str(tmp_path / "other"))
    fill(tmp_path / "other", 5)
    told = run("import", str(tmp_path / "out.jsonl"), "--lang", "en").stdout
    assert "3 messages added, offsets 6 to 8" in told
    with MessageLog.open_reader(tmp_path / "other" / "messages.sqlite") as log:
        assert [(each.topic, each.payload, each.record_time_ns) for each in log.read(5, 10)] == messages


def exported(*arguments):
    return [json.loads(line)["offset"] for line in run("export", *arguments).stdout.splitlines()]


def test_a_range_a_time_or_a_topic_can_be_exported(folder):
    fill(folder, 10, topic=b"plant/one", start_ns=NOON_NS)
    fill(folder, 10, topic=b"plant/two", start_ns=NOON_NS + DAY_NS)
    assert exported() == list(range(1, 21))
    assert exported("--from", "5", "--to", "7") == [5, 6, 7]
    assert exported("--since", "2026-03-12T00:00:00Z") == list(range(11, 21))
    assert exported("--until", "2026-03-12T00:00:00Z", "--from", "9") == [9, 10]
    assert exported("--topic", "plant/two", "--to", "12") == [11, 12]
    assert exported("--topic", "+/one", "--from", "10") == [10]
    assert exported("--from", "50") == []


def test_a_wrong_time_is_said(folder):
    fill(folder)
    with pytest.raises(SettingsError, match=r"--since: got time 'yesterday'; expected RFC 3339"):
        run("export", "--since", "yesterday")


def test_an_export_does_not_overwrite(folder, tmp_path):
    fill(folder)
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(SettingsError, match="is there already"):
        run("export", "-o", str(tmp_path / "mine"))
    assert (tmp_path / "mine").read_text() == "mine"


def test_an_export_that_meets_damage_says_what_to_do_and_leaves_no_file(folder, tmp_path):
    fill(folder, 2_000)
    damage(folder, 20)
    with pytest.raises(StoreRefused, match="filiere log repair"):
        run("export", "-o", str(tmp_path / "out.jsonl"))
    assert [each.name for each in tmp_path.iterdir()] == ["data"]


def test_a_full_disk_behind_standard_output_is_told_in_words(folder):
    fill(folder, 5)
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-m", "filiere", "log", "export"]
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == 2
    assert "got standard output (No space left on device)" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_nothing_is_imported_from_a_file_with_a_bad_line(folder, tmp_path):
    fill(folder, 5)
    run("export", "-o", str(tmp_path / "out.jsonl"))
    with (tmp_path / "out.jsonl").open("ab") as file:
        file.write(b"nonsense\n")
    with pytest.raises(MessageRefused, match=r"out\.jsonl, line 6"):
        run("import", str(tmp_path / "out.jsonl"))
    assert offsets(folder) == [1, 2, 3, 4, 5]


def test_nothing_is_imported_while_the_intake_runs(folder, tmp_path):
    fill(folder, 5)
    run("export", "-o", str(tmp_path / "out.jsonl"))
    with running(folder, "intake"), pytest.raises(SettingsError, match="stop that `filiere collect` first"):
        run("import", str(tmp_path / "out.jsonl"))
    assert offsets(folder) == [1, 2, 3, 4, 5]


@pytest.mark.usefixtures("folder")
def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(StoreRefused, match=r"none\.jsonl: got No such file"):
        run("import", str(tmp_path / "none.jsonl"))


def test_imported_twice_each_row_counts_once(folder, tmp_path):
    with Rig(folder) as rig:
        rig.arrive(*(readings(seq=seq) for seq in range(5)))
        rig.recorder.step()
        run("export", "-o", str(tmp_path / "out.jsonl"))
        rig.log.close()
        run("import", str(tmp_path / "out.jsonl"))
        rig.log = rig._stack.enter_context(MessageLog.open(folder / "messages.sqlite"))
        rig.restart()
        rig.recorder.step()
        (counts,) = rig.book.counts().values()
    assert (counts.stored, counts.duplicates) == (5, 5)


# rewind


@pytest.fixture
def recorded(folder):
    with Rig(folder) as rig:
        for seq in range(10):
            rig.arrive(readings(seq=seq))
            rig.clock_ns += NS_PER_S
        rig.recorder.step()
    return folder


def bookmark():
    return json.loads(run("info", "--json").stdout)["bookmark"]


@pytest.mark.parametrize(
    ("arguments", "first"),
    [(["--start"], 1), (["--to", "4"], 4), (["--time", "2026-03-11T12:00:06Z"], 7)],
)
@pytest.mark.usefixtures("recorded")
def test_a_rewind_says_what_it_will_do_and_asks(arguments, first):
    told = declined("rewind", *arguments, "--lang", "en", answer="n\n")
    assert f"Messages {first} to 10 ({11 - first}, received since" in told
    assert bookmark() == 10
    run("rewind", *arguments, "--yes")
    assert bookmark() in (first - 1, 10)  # 10: it was judged again at once


@pytest.mark.usefixtures("recorded")
def test_there_is_nothing_to_rewind_beyond_the_bookmark():
    assert run("rewind", "--to", "11").stdout == "Aucun message à rejuger.\n"
    assert run("rewind", "--time", "2030-01-01T00:00:00Z", "--lang", "en").stdout == "No message to judge again.\n"


@pytest.mark.parametrize("arguments", [[], ["--start", "--to", "3"]])
@pytest.mark.usefixtures("recorded")
def test_a_rewind_wants_one_place(arguments):
    assert "expected one of --to, --time and --start" in run("rewind", *arguments, code=2).output


# repair


def test_a_repair_keeps_offsets_and_bookmark_and_names_what_is_lost(folder):
    with Rig(folder) as rig:
        rig.arrive(*(readings(seq=seq) for seq in range(500)))
        while rig.recorder.step():
            pass
    damage(folder, 10)
    told = run("repair", "--yes", "--lang", "en", code=EXIT_UNREADABLE).stdout
    assert "Lost: messages" in told
    lost = json.loads(run("info", "--json").stdout)["lost"]
    ((first, last),) = lost
    assert offsets(folder) == [offset for offset in range(1, 501) if not first <= offset <= last]
    with Rig(folder) as rig:
        rig.arrive(readings(seq=500))
        assert rig.recorder.step() == 1
        assert rig.book.progress().bookmark == 501
    assert "lost (repair)" in run("info", "--lang", "en").stdout


def test_a_repair_that_loses_nothing_says_so(folder):
    fill(folder, 2_000)
    damage(folder, 0)
    with pytest.raises(StoreRefused, match="filiere log repair"):
        run("info")
    assert "Rien n'est perdu." in run("repair", "--yes").stdout
    assert offsets(folder) == list(range(1, 2_001))


def test_a_yes_may_be_said_in_french(folder):
    fill(folder)
    result = CliRunner().invoke(log, ["repair"], input="oui\n")
    assert result.exit_code == 0
    assert "Continuer ? [o/N]" in result.stderr


@pytest.mark.usefixtures("folder")
def test_nobody_is_asked_about_a_log_that_is_not_there():
    with pytest.raises(StoreUnavailable, match="no message log there"):
        run("repair")


def test_a_repair_asks_first(folder):
    fill(folder)
    before = (folder / "messages.sqlite").read_bytes()
    told = declined("repair", answer="")
    assert "l'ancien est gardé à côté" in told
    assert (folder / "messages.sqlite").read_bytes() == before


@pytest.mark.parametrize("part", ["intake", "recorder", "receipts"])
def test_nothing_is_repaired_while_the_collector_runs(folder, part):
    fill(folder)
    with running(folder, part), pytest.raises(SettingsError, match="stop that `filiere collect` first"):
        run("repair", "--yes")


def test_a_new_log_in_the_place_of_a_lost_one_goes_on_behind_it(folder):
    """The recorder was further than this log's offsets: it would take these messages for recorded ones."""
    with Rig(folder) as rig:
        rig.record(*(readings(seq=seq) for seq in range(50)))
    for file in folder.glob("messages.sqlite*"):
        file.unlink()
    with Rig(folder) as rig:
        rig.arrive(*(readings(seq=seq) for seq in range(45, 60)))
    assert "Lost: messages 1 to 50." in run("repair", "--yes", "--lang", "en", code=EXIT_UNREADABLE).stdout
    assert offsets(folder) == list(range(51, 66))
    with Rig(folder) as rig:
        rig.recorder.answer_requests()
        rig.record()
        (counts,) = rig.book.counts().values()
        assert (counts.stored, counts.duplicates) == (60, 5)


def test_a_log_of_an_older_backup_counts_nothing_twice(folder):
    with Rig(folder) as rig:
        rig.record(*(readings(seq=seq) for seq in range(20)))
        rig.log._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        backup = (folder / "messages.sqlite").read_bytes()
        rig.record(*(readings(seq=seq) for seq in range(20, 30)))
    (folder / "messages.sqlite").write_bytes(backup)
    run("repair", "--yes", code=EXIT_UNREADABLE)
    assert offsets(folder) == list(range(31, 51))
    with Rig(folder) as rig:
        rig.recorder.answer_requests()
        rig.record()
        (counts,) = rig.book.counts().values()
        assert (counts.stored, counts.duplicates) == (30, 20)
